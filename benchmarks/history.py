"""How long `swapbench history` takes over many runs, in a fresh process each time, and the memory it holds.

python benchmarks/history.py --runs 10000 --repeats 5
"""

import argparse
import copy
import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

_EXPERIMENT = """
title = "A history to read"
target = "scripted"
rounds = 5
[models]
small = "org/small"
large = "org/large"
[[scenario]]
name = "up"
from = "small"
to = "large"
[[scenario]]
name = "down"
from = "large"
to = "small"
[script]
seconds = { drain = 0.1, load = 3.0, reinit = 0.2 }
spans = { "load/read" = 2.0 }
first_token_s = 0.25
model_bytes = { small = 270000000, large = 7000000000 }
"""
_TIMES = ("seconds", "start_s", "total_s", "unattributed_s", "first_token_s", "to_first_token_s")
# Every so many runs something becomes slower or faster, and a version changes with it.
_RELEASE_EVERY = 1250


def template(folder: Path) -> Path:
    """A run as swapbench itself writes it: 10 swaps, 100 rows of phases."""
    experiment = folder / "history.toml"
    experiment.write_text(_EXPERIMENT, encoding="utf-8")
    command = [sys.executable, "-m", "swapbench", "run", str(experiment), "--out", str(folder), "--quiet"]
    subprocess.run(command, check=True, capture_output=True)
    return next((folder / "history").iterdir())


class Copies:
    """Runs with the template's columns and rows, and times and versions of their own."""

    def __init__(self, run: Path) -> None:
        self._info: dict[str, Any] = json.loads((run / "run.json").read_text(encoding="utf-8"))
        self._info["experiment"] |= {"target": "inprocess", "script": None}
        self._info["worker"]["device"] = "gpu"
        self._tables = {name: _rows(run / name) for name in ("phases.csv", "swaps.csv", "memory.csv")}

    def write(self, results: Path, number: int, rng: random.Random) -> None:
        """One more run folder."""
        begun = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=37 * number)
        run_id = f"{begun:%Y%m%dT%H%M%SZ}-hub"
        folder = results / "history" / run_id
        folder.mkdir(parents=True)
        release = number // _RELEASE_EVERY
        info = copy.deepcopy(self._info) | {"run_id": run_id, "started_at": begun.isoformat()}
        info["worker"]["versions"] = {"mlx": f"0.32.{release}", "mlx-lm": "0.32.2"}
        factor = 1.1 ** (release % 3) * rng.lognormvariate(0, 0.04)
        for name, (header, rows) in self._tables.items():
            lines = [",".join(header), *(_line(header, row, run_id, factor, rng) for row in rows)]
            info["sizes"][name] = (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        (folder / "run.json").write_text(json.dumps(info, indent=2) + "\n", encoding="utf-8")


def _rows(path: Path) -> tuple[list[str], list[list[str]]]:
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    return header, rows


def _line(header: list[str], row: list[str], run_id: str, factor: float, rng: random.Random) -> str:
    factor *= rng.lognormvariate(0, 0.02)
    cells = (
        f"{float(cell) * factor:.9f}" if name in _TIMES and cell else cell
        for name, cell in zip(header[1:], row[1:], strict=True)
    )
    return ",".join((run_id, *cells))


def measure(arguments: list[str]) -> tuple[float, float, float]:
    """From start to end of a process: seconds of wall time and of computing, and MiB that it held at most."""
    begun_s = time.perf_counter()
    child = subprocess.Popen([sys.executable, "-m", "swapbench", *arguments], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    taken_s = time.perf_counter() - begun_s
    if status:
        raise SystemExit(f"swapbench {' '.join(arguments)}: status {status}")
    unit = 1 if sys.platform == "darwin" else 1024
    return taken_s, used.ru_utime + used.ru_stime, used.ru_maxrss * unit / 2**20


def lines_of(results: Path, repeats: int) -> Iterator[str]:
    """One line for each way to ask, in turns."""
    asked = {"headline": [], "--figure load": ["--figure", "load"]}
    taken: dict[str, list[tuple[float, float, float]]] = {name: [] for name in asked}
    for _ in range(repeats):
        for name, options in asked.items():
            taken[name].append(measure(["history", "history", "--results", str(results), *options]))
    for name, measured in taken.items():
        seconds, computing, held = zip(*measured, strict=True)
        yield (
            f"{name:<14}  {_spread(seconds)} from start to end, {_spread(computing)} of computing, "
            f"at most {max(held):.0f} MiB"
        )


def _spread(seconds: Sequence[float]) -> str:
    return f"{median(seconds):.2f} s ({min(seconds):.2f}-{max(seconds):.2f})"


def main() -> None:
    """Write, measure, delete."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="on the disk to write to")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        rng = random.Random(0)
        copies = Copies(template(Path(folder)))
        results = Path(folder) / "results"
        for number in range(arguments.runs):
            copies.write(results, number, rng)
        written = sum(path.stat().st_size for path in results.rglob("*.*") if path.is_file())
        load = " ".join(f"{average:.1f}" for average in os.getloadavg())
        print(
            f"{arguments.runs} runs, {written / 1e6:.0f} MB, {arguments.repeats} repeats; load average {load}"
        )
        for line in lines_of(results, arguments.repeats):
            print(line, flush=True)


if __name__ == "__main__":
    main()
