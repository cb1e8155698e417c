"""How long a tokenizer takes, mlx-lm's way and the lean one, each in a process of its own.

python benchmarks/lean_tokenizer.py CHECKPOINT... --repeats 7
"""

import argparse
import subprocess
import sys
from pathlib import Path
from statistics import median

_SCRIPT = """
import sys, time
from pathlib import Path
from mlx_lm.utils import load_tokenizer
from swapbench.loaders.tokenizer import load_lean
path, way = Path(sys.argv[1]), sys.argv[2]
begun = time.perf_counter()
load_tokenizer(path) if way == "stock" else load_lean(path, None)
print(time.perf_counter() - begun)
"""


def measure(checkpoint: Path, way: str) -> float:
    """Seconds of one load, imports left out."""
    command = [sys.executable, "-c", _SCRIPT, str(checkpoint), way]
    done = subprocess.run(command, check=True, capture_output=True, encoding="utf-8")
    return float(done.stdout.splitlines()[-1])


def main() -> None:
    """Take turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", type=Path)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    for checkpoint in arguments.checkpoints:
        seconds: dict[str, list[float]] = {"stock": [], "lean": []}
        for number in range(arguments.repeats):
            for way in ("stock", "lean") if number % 2 else ("lean", "stock"):
                seconds[way].append(measure(checkpoint, way))
        ratio = median(s / lean for s, lean in zip(seconds["stock"], seconds["lean"], strict=True))
        figures = ", ".join(
            f"{way} {median(taken):.2f} s ({min(taken):.2f}-{max(taken):.2f})"
            for way, taken in seconds.items()
        )
        print(f"{checkpoint.name}: {figures}; {ratio:.1f}x, n = {arguments.repeats}")


if __name__ == "__main__":
    main()
