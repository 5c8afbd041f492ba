"""The control API on a Unix socket in the data folder."""
