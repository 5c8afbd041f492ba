"""Where addresses are: what the hook `geo` reads."""
