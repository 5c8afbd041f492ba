"""Tests of `cdpd doctor`: each check provoked."""
