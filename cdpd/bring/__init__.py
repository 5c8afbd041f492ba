"""Bringing archives into a source: what `cdpd import` reads, and how the daemon takes it in."""
