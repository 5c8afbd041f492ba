"""User agents read: what the hooks `user_agent` and `bots` share."""
