"""The parts of the daemon, one for each role: all in one process, or spread over several (cdpd/roles)."""
