"""Libraries whose inner parts are used: one module each."""
