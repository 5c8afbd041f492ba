"""Metrics for Prometheus: what they are at the moment of a scrape, as text, at /metrics."""
