"""Mixpanel as a destination of cdpd."""
