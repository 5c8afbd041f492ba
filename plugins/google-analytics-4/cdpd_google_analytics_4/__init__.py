"""Google Analytics 4 for cdpd."""
