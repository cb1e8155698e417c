"""Statistics of few, long, skewed samples, which know nothing of swaps."""
