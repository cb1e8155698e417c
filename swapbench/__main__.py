"""`python -m swapbench` is `swapbench`."""

from swapbench.cli import main

main()
