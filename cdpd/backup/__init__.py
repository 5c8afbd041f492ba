"""A copy of a data folder in use, from which a daemon can be started: README in systemd/, “Back up”."""
