"""FQL (conditions on events) and the mapping kit (events to payloads): pure functions, no I/O. See README.md."""
