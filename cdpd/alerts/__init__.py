"""Alerts: conditions of the configuration, watched; told once when they begin to hold and once when they are over."""
