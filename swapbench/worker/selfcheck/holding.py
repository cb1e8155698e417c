"""`python -m swapbench.worker.selfcheck.holding BYTES`: hold memory, say the footprint, wait."""

import os
import sys

from swapbench.instruments.ledgers import process

if __name__ == "__main__":
    held = b"\x01" * int(sys.argv[1])
    print(process(os.getpid()).memory().footprint_bytes, flush=True)
    sys.stdin.read()
