"""What reports say: one list of sections for a run, a comparison and a gate, and what each section holds."""
