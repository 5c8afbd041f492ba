"""Which ids were seen lately: the store of the `dedup` hook."""
