"""A model shared among ranks: processes, here or on other machines, that MLX's distributed engine connects."""
