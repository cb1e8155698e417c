"""Two runs and many: what differs, what changed, and what may be compared."""
