"""cdpd: a self-hosted, Segment-compatible customer data platform in one asyncio daemon."""
