"""A model shared among ranks: processes, here or on other machines, connected by MLX's distributed engine."""
