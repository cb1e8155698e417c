"""The reference serving engine: what gets swapped. It knows nothing of probes."""
