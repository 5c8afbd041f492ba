"""Tests of cdpd.testing."""
