"""`python -m swapbench` is `swapbench`."""

import sys

# Python puts the working directory first, and what lies there is not ours to import.
if not sys.flags.safe_path:
    del sys.path[0]

from swapbench.cli import main

main()
