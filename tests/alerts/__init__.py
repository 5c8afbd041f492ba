"""Alerts: mirrors cdpd/alerts."""
