"""Checkpoints: which models there are, where they lie, and how stand-ins for them are made."""
