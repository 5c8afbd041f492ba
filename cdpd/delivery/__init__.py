"""Delivery: events → one destination: route, batch, retry, park."""
