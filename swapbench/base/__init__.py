"""What every room stands on: errors, phases, files, processes and numbers as text."""
