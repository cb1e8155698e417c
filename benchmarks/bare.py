"""Whether swapbench's stock swaps as mlx_lm's users do: in turn with a bare loop around mlx_lm.load.

python benchmarks/bare.py [LARGE LARGE SMALL] --rounds 6

Three checkpoints, by default the full-size stand-ins of Gemma-3-12B, Qwen-2.5-14B and SmolLM2. Each turn is a
process of its own, which goes around them twice; of the second time, large to large and large to small are
told. The bare one does what `bare` does, the other is `swapbench run`. Seconds and minor faults are of unload
and load together, with the page cache warm.
"""

import argparse
import csv
import gc
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from swapbench.instruments import page_cache
from swapbench.models.locate import find
from swapbench.spec.experiment import Source

MODELS: Final = ("gemma-3-12b", "qwen2.5-14b", "smollm2-135m")
SWAPS: Final = ("large-to-large", "large-to-small")

# Seconds and minor faults of a swap.
Cost = tuple[float, float]


def bare(paths: Sequence[Path]) -> list[Cost]:
    """Load one after another by mlx_lm alone."""
    import mlx.core as mx
    import mlx_lm

    costs = []
    held: Any = None
    for path in paths:
        page_cache.prime(page_cache.weight_files(path))
        faults, begun_s = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.perf_counter()
        held = None
        gc.collect()
        mx.clear_cache()
        held = mlx_lm.load(str(path))
        seconds = time.perf_counter() - begun_s
        costs.append((seconds, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults))
    assert held
    return costs


def measure_bare(paths: Sequence[Path]) -> list[Cost]:
    """Twice around in a process of its own; what the second time took, but for the way back."""
    command = [sys.executable, __file__, "--bare", *map(str, paths)]
    done = subprocess.run(command, check=True, capture_output=True, encoding="utf-8")
    return [(seconds, faults) for seconds, faults in json.loads(done.stdout.splitlines()[-1])]


def measure_stock(paths: Sequence[Path]) -> list[Cost]:
    """The same by `swapbench run`: one round after one of warm-up."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "circle.toml").write_text(_experiment(paths), encoding="utf-8")
        command = [sys.executable, "-m", "swapbench", "run", "circle.toml", "--quiet", "--out", "results"]
        # 6 is inconclusive: one round is too few for a verdict, and enough for its figures.
        done = subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=False)
        if done.returncode not in (0, 6):
            raise SystemExit(f"swapbench run ended with exit code {done.returncode}")
        (table,) = Path(folder).glob("results/**/phases.csv")
        with table.open(encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["warmup"] == "false" and not row["span"]]
    return [_cost([row for row in rows if row["scenario"] == swap]) for swap in SWAPS]


def _cost(phases: Sequence[dict[str, str]]) -> Cost:
    changing = [row for row in phases if row["phase"] in ("unload", "load")]
    return sum(float(row["seconds"]) for row in changing), sum(float(r["minor_faults"]) for r in changing)


def _experiment(paths: Sequence[Path]) -> str:
    names = ("one", "two", "three")
    models = "".join(f'{name} = "{path}"\n' for name, path in zip(names, paths, strict=True))
    around = zip((*SWAPS, "small-to-large"), names, (*names[1:], names[0]), strict=True)
    scenarios = "".join(f'[[scenario]]\nname = "{s}"\nfrom = "{a}"\nto = "{b}"\n' for s, a, b in around)
    return f'rounds = 1\nwarmup = 1\npage_cache = "warm"\nfirst_token = false\n[models]\n{models}{scenarios}'


def main() -> None:
    """Take turns, and tell of both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("models", nargs="*", default=MODELS, help="three: large, large, small")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--bare", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.bare:
        paths = [Path(path) for path in arguments.models]
        print(json.dumps(bare([*paths, *paths])[-2:]))
        return
    paths = [find(model, (Source.SYNTHETIC,)) for model in arguments.models]
    ways = {"bare": measure_bare, "stock": measure_stock}
    costs: dict[str, list[list[Cost]]] = {way: [] for way in ways}
    for number in range(arguments.rounds):
        for way in sorted(ways, reverse=bool(number % 2)):
            costs[way].append(ways[way](paths))
            print(way, number + 1, costs[way][-1], file=sys.stderr, flush=True)
    for i, swap in enumerate(SWAPS):
        for j, unit in enumerate(("s", "minor faults")):
            of = {way: [turn[i][j] for turn in turns] for way, turns in costs.items()}
            told = ", ".join(f"{way} {median(v):,.3f} ({min(v):,.3f}-{max(v):,.3f})" for way, v in of.items())
            ratio = median(ours / theirs for ours, theirs in zip(of["stock"], of["bare"], strict=True))
            print(f"{swap}, {unit}: {told}; stock/bare {ratio:.3f}, n = {arguments.rounds}")


if __name__ == "__main__":
    main()
