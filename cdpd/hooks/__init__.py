"""The built-in hook plugins, one file each, on the public contract (cdpd/hookspecs.py)."""
