"""Customer.io as a destination of cdpd."""
