"""Ingest: the HTTP tracking API; auth, decode, limits, CORS, settings → `received`."""
