"""What the gate finds, for real: changes to a scratch clone's loader, each measured against its merge base.

python benchmarks/gate.py --repeats 10

The working tree's last commit is cloned, the loader changed there (or not), and `swapbench gate` run on mini
models: weights read several times over, a leak on every load, a process that dies in a load; and nothing at
all, again and again. Prints what each was expected to exit with, and what it did.
"""

import argparse
import json
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parent.parent

# Appended to swapbench/loaders/stock.py: the module's own function goes on to be called.
SLOW = """
_once = load_weights
def load_weights(checkpoint, span):
    for _ in range({times} - 1):
        _once(checkpoint, lambda name: __import__("contextlib").nullcontext())
    return _once(checkpoint, span)
"""
LEAK = """
_kept, _once = [], load_weights
def load_weights(checkpoint, span):
    import mlx.core as mx
    _kept.append(mx.ones(8 << 20, dtype=mx.uint8))
    mx.eval(_kept[-1])
    return _once(checkpoint, span)
"""
KILL = """
_loads, _once = [], load_weights
def load_weights(checkpoint, span):
    _loads.append(checkpoint)
    if len(_loads) == 3:
        __import__("os").kill(__import__("os").getpid(), 9)
    return _once(checkpoint, span)
"""
# Both sides use this interpreter's packages, and a swapbench of their own.
BUILD = 'python="{python}"; "$python" -m venv --without-pip .venv; printf "%s\\n" "$PWD" "{packages}" > ' + (
    '"$(echo .venv/lib/python3*/site-packages)/here.pth"'
)


def main() -> None:
    """Run every case, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repeats", type=int, default=10, help="of the unchanged case")
    parser.add_argument("--times", type=int, default=30, help="how often the slowed loader reads the weights")
    parser.add_argument("--margin", type=float, default=0.25)
    arguments = parser.parse_args()
    cases = [
        ("the same code", "", {0}, arguments.repeats),
        (f"weights read {arguments.times} times", SLOW.format(times=arguments.times), {3}, 1),
        ("8 MiB kept on every load", LEAK, {5}, 1),
        ("killed in its third load", KILL, {7}, 1),
    ]
    print(f"{'case':28} {'expected':>8} {'exit codes':24} {'median s':>9}  judgement")
    wrong = False
    for name, change, expected, repeats in cases:
        results = [gated(change, arguments.margin) for _ in range(repeats)]
        codes = Counter(code for code, _, _ in results)
        wrong |= not set(codes) <= expected
        shown = ", ".join(f"{code}: {n} of {repeats}" for code, n in sorted(codes.items()))
        seconds = median(seconds for _, seconds, _ in results)
        print(f"{name:28} {min(expected):>8} {shown:24} {seconds:9.0f}  {results[-1][2]}", flush=True)
    sys.exit(wrong)


def gated(change: str, margin: float) -> tuple[int, float, str]:
    """The exit code of a gate over a clone with a change, its seconds, and what it said of the worst."""
    with tempfile.TemporaryDirectory() as folder:
        clone, reports = Path(folder) / "clone", Path(folder) / "reports"
        subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(clone)], check=True)
        build = BUILD.format(python=sys.executable, packages=sysconfig.get_path("purelib"))
        subprocess.run(["bash", "-c", build], cwd=clone, check=True)
        loader = clone / "swapbench" / "loaders" / "stock.py"
        loader.write_text(loader.read_text(encoding="utf-8") + change, encoding="utf-8")
        begun_s = time.perf_counter()
        done = subprocess.run(
            [
                *(sys.executable, "-m", "swapbench", "gate", "quick", "--base", "HEAD", "--quiet"),
                *("--python", ".venv/bin/python", "--build", build, "--reports", str(reports)),
                *("--set", f"gate.margin={margin}", "--set", "workload.requests=0"),
            ],
            cwd=clone,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        seconds = time.perf_counter() - begun_s
        if not (reports / "gate.json").exists():
            return done.returncode, seconds, done.stderr.strip().splitlines()[-1]
        return (
            done.returncode,
            seconds,
            _judgement(json.loads((reports / "gate.json").read_text(encoding="utf-8"))),
        )


def _judgement(gate: dict[str, object]) -> str:
    """What stands behind the outcome, shortly."""
    parts = [part for kind in ("scenarios", "ledgers", "failures") for part in gate[kind]]  # type: ignore[attr-defined]
    guilty = [part for part in parts if part.get("outcome", "failed") == gate["outcome"]]
    named = [f"{part.get('scenario') or part.get('ledger')}: {part['reason']}" for part in guilty[:2]]
    return f"{gate['outcome']}; " + "; ".join(named)


if __name__ == "__main__":
    main()
