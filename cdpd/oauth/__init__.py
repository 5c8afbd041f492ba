"""OAuth 2.0 for sources: apps get tokens for signed assertions, and send events with them (connections.md §12)."""
