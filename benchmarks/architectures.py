"""What works of every architecture that mlx-lm has, each in a process of its own.

python benchmarks/architectures.py [NAME...] [--write]

synth: its full size is planned, as tensors and bytes; nothing of it is written. mini: its mini is made.
loaders: every loader gives the mini's weights as mlx_lm.load does, to the bit. served: the engine answers two
requests at once, on its own thread. caches: an agent's cache is evicted and restored, and goes on as before.
verified: the engine says what a process says that never swapped. --write puts the table into docs/models.md.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from swapbench.worker.engine.batch import BatchEngine

_ROOT: Final = Path(__file__).parent.parent
_CONFIGS: Final = _ROOT / "tests" / "models" / "stand_ins" / "architectures.json"
_PAGE: Final = _ROOT / "docs" / "models.md"
_MARKS: Final = ("<!-- made by benchmarks/architectures.py -->\n", "<!-- end -->")
_COLUMNS: Final = ("synth", "mini", "loaders", "served", "caches", "verified")
_PATIENCE_S: Final = 600
_CACHE_TOKENS: Final = 48  # more than a mini's windows


def synth(published: Path, _mini: Path) -> str:
    """Plan the full size."""
    from swapbench.models.stand_ins import order
    from swapbench.models.stand_ins.synthesize import tensors
    from swapbench.spec.experiment import Source

    planned = tensors(order.of_config_file("full", Source.SYNTHETIC, published))
    return f"{len(planned)}, {sum(tensor.nbytes for tensor in planned) / 1e9:.1f} GB"


def mini(published: Path, folder: Path) -> str:
    """Make the mini that the other columns are about."""
    from swapbench.models.checkpoint import weight_bytes
    from swapbench.models.stand_ins import order, synthesize
    from swapbench.spec.experiment import Source

    synthesize.make(order.of_config_file("mini", Source.MINI, published), folder, lambda *_: None)
    return f"{weight_bytes(folder) / 1e6:.1f} MB"


def loaders(_published: Path, folder: Path) -> str:
    """Compare each loader with mlx_lm.load."""
    import mlx_lm
    from bits import digests, digests_of

    from swapbench.spec.strategy import LOADERS

    right = digests_of(mlx_lm.load(str(folder))[0])
    wrong = [kind for kind in LOADERS if digests(folder, kind)[0] != right]
    if wrong:
        raise RuntimeError(f"other bits by {', '.join(wrong)}")
    return "yes"


def served(_published: Path, folder: Path) -> str:
    """Answer two requests at once."""
    from swapbench.worker.engine.requests import requests

    with _engine(folder) as engine:
        tickets = [engine.submit(request) for request in requests(2, 12, 6, seed=1)]
        answers = [ticket.result(_PATIENCE_S) for ticket in tickets]
    if any(len(answer.tokens) != 6 for answer in answers):
        raise RuntimeError("fewer tokens than were asked for")
    return "yes"


def caches(_published: Path, folder: Path) -> str:
    """Evict a cache and restore it."""
    from swapbench.loaders import load
    from swapbench.spec.experiment import CacheFill
    from swapbench.worker.engine.caches import CacheStore, ModelTag, continuation, fill_cache

    model, tokenizer, _ = load(folder, "stock")
    store = CacheStore(folder.with_name("caches"))
    store.update_tag(ModelTag.of(folder, "mini"))
    store.hold("agent", fill_cache(model, tokenizer, _CACHE_TOKENS, CacheFill.PREFILL, seed=1), _CACHE_TOKENS)
    before = continuation(model, store.get("agent") or [], 4)
    store.evict_all(lambda _: nullcontext())
    if not store.restore("agent") or continuation(model, store.get("agent") or [], 4) != before:
        raise RuntimeError("the restored cache goes on otherwise")
    return "yes"


def verified(_published: Path, folder: Path) -> str:
    """Compare the engine with a fresh process."""
    from swapbench.run.worker_process import replies_of
    from swapbench.spec import experiment
    from swapbench.wire.plan import Checkpoint
    from swapbench.worker.engine.batch import ask

    quick = experiment.load(experiment.find("quick"))
    checkpoint = Checkpoint(
        name="mini", reference=str(folder), source=experiment.Source.MINI, path=folder, weight_bytes=0
    )
    with _engine(folder) as engine:
        own = ask(engine, quick.verify)
    if own != replies_of(checkpoint, quick, sys.executable, folder.with_name("reference.log")):
        raise RuntimeError("a fresh process says something else")
    return "yes"


def _engine(folder: Path) -> "AbstractContextManager[BatchEngine]":
    from swapbench.spec.experiment import EngineSettings
    from swapbench.worker.reference import engine_of

    return engine_of(folder, EngineSettings(), name="mini", strategy="fill")


_CHECKS: Final[tuple[Callable[[Path, Path], str], ...]] = (synth, mini, loaders, served, caches, verified)


def examine(name: str) -> None:
    """Print a line of JSON for each column: what is found, or why not."""
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["SWAPBENCH_CACHE"] = scratch  # digests of these minis are of no use to anybody else
        published, folder = Path(scratch) / "config.json", Path(scratch) / "mini"
        published.write_text(
            json.dumps(json.loads(_CONFIGS.read_text(encoding="utf-8"))[name]), encoding="utf-8"
        )
        folder.mkdir()
        for check in _CHECKS:
            try:
                print(json.dumps([check.__name__, check(published, folder), ""]), flush=True)
            except Exception as error:  # noqa: BLE001 - a cell's border: the reason is what is wanted
                print(
                    json.dumps([check.__name__, "", " ".join(str(error).split()) or repr(error)]), flush=True
                )


def row(name: str) -> str:
    """A row of the table."""
    known = json.loads(_CONFIGS.read_text(encoding="utf-8"))[name]
    if isinstance(known, str):
        return _line(name, [("", known)] * len(_COLUMNS))
    command = [sys.executable, __file__, "--one", name]
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", check=False, timeout=_PATIENCE_S
        )
    except subprocess.TimeoutExpired:
        return _line(name, [("", f"nothing after {_PATIENCE_S} s")] * len(_COLUMNS))
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('["')]
    found: dict[str, Any] = {column: (cell, reason) for column, cell, reason in lines}
    ended = ("", f"the process ended with {done.returncode}")
    cells = [found.get(column, ended) for column in _COLUMNS]
    return _line(name, cells)


def _line(name: str, cells: list[tuple[str, str]]) -> str:
    reasons = dict.fromkeys(reason for _, reason in cells if reason)
    line = [name, *(cell for cell, _ in cells), "; ".join(map(_brief, reasons))]
    return f"| {' | '.join(line)} |"


def _brief(reason: str) -> str:
    return re.sub(r"[|<>]", " ", reason)[:120].strip()


def main() -> None:
    """Print the table, and write it where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        examine(arguments.names[0])
        return
    if arguments.write and arguments.names:
        parser.error("--write is for the whole table; name no architectures")
    names = arguments.names or sorted(json.loads(_CONFIGS.read_text(encoding="utf-8")), key=str.casefold)
    table = ["| Architecture | " + " | ".join(_COLUMNS) + " | Why not |", "|---" * (len(_COLUMNS) + 2) + "|"]
    print("\n".join(table))
    with ThreadPoolExecutor(max_workers=2) as pool:
        for line in pool.map(row, names):
            print(line, flush=True)
            table.append(line)
    if arguments.write:
        before, _, rest = _PAGE.read_text(encoding="utf-8").partition(_MARKS[0])
        _, _, after = rest.partition(_MARKS[1])
        _PAGE.write_text(before + _MARKS[0] + "\n".join(table) + "\n" + _MARKS[1] + after, encoding="utf-8")


if __name__ == "__main__":
    main()
