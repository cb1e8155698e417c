"""Servers seen from outside: started by a preset, or running already; no MLX in here."""
