"""Carrying a run out: plan, worker process, gate, and what a target can do."""
