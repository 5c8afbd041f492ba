"""What another configuration would change: stored traffic through both, compared (`cdpd diff`)."""
