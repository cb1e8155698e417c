"""The checks of `swapbench selfcheck`: a function for each claim, carried out in a process of its own."""
