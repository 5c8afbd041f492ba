"""`cdpd doctor`: looks at everything that a daemon needs, and says of each thing whether it is well and what to do."""
