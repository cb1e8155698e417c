"""Bad input in bulk: `make fuzz` runs 10,000 examples of each, the usual suite a few."""
