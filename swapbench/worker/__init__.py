"""The measuring process: imports mlx, psutil and the target, and never the command line's libraries."""
