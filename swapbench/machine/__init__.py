"""The machine: who it is, what a process may have of it, and what disturbs on it."""
