"""One process's way of loading models, one after another, as a strategy says.

auto picks the loader by page cache and memory of the moment, and what `swapbench probe` measured here.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NamedTuple

import mlx.core as mx
from mlx.utils import tree_flatten, tree_reduce, tree_unflatten

from swapbench.base.errors import UsageError
from swapbench.compat.mlx_lm import UnaskedError, build, unasked
from swapbench.instruments import page_cache
from swapbench.loaders import platform, stock
from swapbench.loaders.arrays import Arrival, Source, Span, UnfitError, nothing, shards_of, unmeasured
from swapbench.loaders.mapped import unmappable
from swapbench.loaders.slab import Slab, room_for
from swapbench.loaders.stock import evaluate
from swapbench.loaders.tokenizer import Tokenizers
from swapbench.machine import allowance
from swapbench.machine.environment import Limits, Volume, load_limits, this_machine
from swapbench.models.cache import cache_root
from swapbench.models.checkpoint import Fault, damaged
from swapbench.models.validation import fault_of_model, fault_of_tokenizer
from swapbench.spec.strategy import LOADERS as ALL
from swapbench.spec.strategy import ReadAhead, Strategy, TokenizerMode

LOADERS: Final = {
    "auto": {
        "cost": "a look at page cache and memory",
        "avoid": "where every swap must go the same way",
    },
}

_OF_THE_MACHINE: Final = (MemoryError, OSError, RuntimeError, UnfitError)
# More than the largest model takes: the price of reading ahead.
_SPARE: Final = 1.05
# Of what is available: the system wants some for itself, and a KV cache grows.
_MEMORY_SHARE: Final = 0.9
# What counts as in the page cache: pages come and go by themselves.
_RESIDENT_SHARE: Final = 0.9


@dataclass(frozen=True)
class LoadReport:
    """How a model came into memory.

    Attributes:
        loader: what brought the weights; another than was asked for where `why` says so.
        why: reasons, as a sentence: what `auto` picked, what was fallen back from; empty when as asked.
        weight_bytes: bytes of all parameters.
        ahead_bytes: of these, what was there already when the old model was gone.
        kept_bytes: memory that the loader keeps, whichever model is in it: its slab.
        seconds: for weights and tokenizer together.
    """

    loader: str
    why: str
    weight_bytes: int
    ahead_bytes: int
    kept_bytes: int
    seconds: float


@dataclass(frozen=True)
class Loaded:
    """A model ready to compute: every weight evaluated, and resident unless the strategy is incremental."""

    model: Any
    tokenizer: Any
    report: LoadReport

    @property
    def weight_bytes(self) -> int:
        return self.report.weight_bytes


class _Weights(NamedTuple):
    model: Any
    config: dict[str, Any]
    loader: str
    reasons: list[str]
    ahead_bytes: int = 0


class ModelLoader:
    """Loads models by one strategy; holds what the strategy keeps between them.

    Call `load`, drop every reference to the model, call `released`, `load` the next. `begin`, before the old
    model goes, is for strategies that do something beside it; without it they only lose that.
    """

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy
        self._tokenizers = Tokenizers(strategy.tokenizer)
        self._notes: list[str] = []
        if strategy.loader == "reuse" and (why := platform.keep_freed_memory()):
            self._notes.append(why)
        self._slab = Slab()
        self._sources: dict[str, Source] = {}
        for module in dict.fromkeys(loader.module for loader in ALL.values()):
            sources = getattr(import_module(f"swapbench.loaders.{module}"), "sources", None)
            self._sources |= sources(strategy, self._slab) if sources else {}
        # Of a strategy that has its own way to bring weights, why this mlx-lm wouldn't take them.
        self._unasked = "" if strategy.loader in ("stock", "reuse") else unasked("weights")
        self._last: Path | None = None
        self._stop_last: Callable[[], None] = nothing
        self._limits: tuple[Path | None, Limits | None] = (None, None)

    @property
    def kept_bytes(self) -> int:
        """Memory that is held whichever model serves, none included."""
        return self._slab.kept_bytes

    @property
    def unasked(self) -> str:
        """What this mlx-lm does otherwise than swapbench knows, so that stock's way is gone; else empty."""
        stock_tokenizer = self._strategy.tokenizer is TokenizerMode.STOCK
        return "; ".join(filter(None, (self._unasked, "" if stock_tokenizer else unasked("tokenizer"))))

    def reserve(self, checkpoints: Iterable[Path]) -> None:
        """Have the memory at hand that the largest of these will want, for strategies that keep some."""
        if not ALL[self._strategy.loader].keeps_memory or self._unasked:
            return
        rooms = []
        for checkpoint in checkpoints:
            # A broken one is told when it is loaded.
            with suppress(UnfitError, OSError, ValueError):
                rooms.append(room_for(shards_of(checkpoint)))
        if not rooms:
            return
        *_, largest = rooms = sorted(rooms)
        wanted = {
            ReadAhead.DOUBLE: sum(rooms[-2:]),
            ReadAhead.SPARE: int(largest * _SPARE),
            ReadAhead.OFF: largest,
        }[self._strategy.read_ahead]
        memory = allowance.memory()
        most = int(memory.available.bytes * _MEMORY_SHARE)
        if wanted > max(most, largest):
            self._notes.append(
                f"no room to read ahead: {wanted / 1e9:.1f} GB of slab wanted, {most / 1e9:.1f} GB to be "
                f"had{memory.available.limited}"
            )
            wanted = largest
        if wanted <= memory.obtainable.bytes:  # else a swap to that one is refused
            with suppress(UnfitError):  # told by the load that wants it
                self._slab.reserve(wanted)

    def look(self, checkpoint: Path) -> None:
        """Find out what doesn't hang on the moment, so that `load` needn't: for whoever times that."""
        if self._strategy.loader == "auto":
            self._limits = (checkpoint, limits_of(checkpoint))

    def begin(self, checkpoint: Path) -> None:
        """A swap to this checkpoint is asked for; the old model still serves."""
        self._tokenizers.begin(checkpoint)
        if self._strategy.read_ahead is not ReadAhead.OFF and not self._unasked:
            # What can't be read ahead is read afterwards, and told then.
            with suppress(UnfitError, OSError):
                self._slab.read_ahead(checkpoint, direct=self._strategy.loader == "direct")

    def load(self, checkpoint: Path, span: Span = unmeasured) -> Loaded:
        """Bring a model and its tokenizer into memory; the one before is dropped, and `released` called.

        Spans: `weights` until every weight is there, `build` constructs modules, `read` brings bytes,
        `tokenizer` is what had to be waited for the tokenizer.

        Raises:
            ValueError: what keeps mlx-lm from loading the checkpoint, and what mends it.
            FileNotFoundError: there is no such folder.
            MemoryError, OSError, RuntimeError: the machine can't, as from mlx_lm.load.
        """
        if not checkpoint.is_dir():
            raise FileNotFoundError(f"{checkpoint}: there is no such folder; give that of a checkpoint")
        begun_s = time.perf_counter()
        self._tokenizers.begin(checkpoint)
        with span("weights"), explained(checkpoint, fault_of_model):
            came = self._weights(checkpoint, span)
        with span("tokenizer"), explained(checkpoint, fault_of_tokenizer):
            tokenizer, said = self._tokenizers.get(checkpoint, came.config)
        self._last = checkpoint
        parameters = came.model.parameters()
        report = LoadReport(
            loader=came.loader,
            why="; ".join(filter(None, [*self._notes, *came.reasons, said])),
            weight_bytes=tree_reduce(lambda total, array: total + array.nbytes, parameters, 0),
            ahead_bytes=came.ahead_bytes,
            kept_bytes=self.kept_bytes,
            seconds=time.perf_counter() - begun_s,
        )
        return Loaded(came.model, tokenizer, report)

    def released(self, following: Path | None = None, span: Span = unmeasured) -> None:
        """The model is dropped, by everyone: free its memory, but for what the strategy keeps.

        Spans: `give_back` returns freed memory to the system, for strategies that do.

        Args:
            following: the checkpoint that is loaded next, if that is known.
        """
        if self._strategy.loader != "stock":
            # Every layer that was built drew from MLX's chain of random keys, lazily; unless somebody
            # evaluates it, the chain grows with each load for ever, as mlx_lm's does.
            mx.eval(mx.random.state)
        self._stop_last()
        self._stop_last = nothing
        old = self._last if self._strategy.loader == "reuse" else None
        if old and following and stock.keep_buffers(old, following):
            return
        mx.clear_cache()
        if self._strategy.gives_back:
            with span("give_back"):
                platform.give_back_freed_memory()

    def close(self) -> None:
        self._slab.drop()
        self._tokenizers.close()

    def _weights(self, checkpoint: Path, span: Span) -> _Weights:
        kind = self._strategy.loader
        reasons: list[str] = []
        if self._unasked:
            reasons, kind = [f"not {kind}: {self._unasked}"], "stock"
        elif kind == "auto":
            kind, picked = pick(checkpoint, self.kept_bytes, self._limits_of(checkpoint))
            reasons.append(picked)
            if kind == "stock" or not ALL[kind].keeps_memory:
                # Beside weights that are elsewhere it would be memory twice.
                self._slab.drop()
        self._stop_last()
        while kind in self._sources:
            try:
                arrival = self._sources[kind](checkpoint)
            except UnfitError as error:
                reasons.append(f"not {kind}: {error}")
                kind = ALL[kind].fallback
                continue
            self._stop_last = arrival.stop
            try:
                model, config = self._arrive(checkpoint, arrival, span)
            except UnaskedError as error:
                self._unasked = str(error)
                reasons.append(f"not {kind}: {error}")
                kind = "stock"
                del arrival
                self._slab.drop()
            else:
                return _Weights(model, config, kind, reasons, arrival.ahead_bytes)
        model, config = stock.load_weights(checkpoint, span)
        return _Weights(model, config, kind, reasons)

    def _limits_of(self, checkpoint: Path) -> Limits | None:
        """Looked up at each load that nobody looked before: a server may run for long."""
        (looked_at, known), self._limits = self._limits, (None, None)
        return known if looked_at == checkpoint else limits_of(checkpoint)

    def _arrive(self, checkpoint: Path, arrival: Arrival, span: Span) -> tuple[Any, dict[str, Any]]:
        try:
            model = None
            if self._strategy.overlap:
                with span("build"):
                    model, config = _built_beside(checkpoint, arrival.weights)
            with span("read"):
                arrival.wait()
            if model is None:
                with span("build"):
                    model, config = build(checkpoint, arrival.weights)
            arrival.watch([model, *evaluate(model)])
        except BaseException:
            arrival.stop()
            raise
        return model, config


@contextmanager
def explained(checkpoint: Path, explain: Callable[[Path, Exception], Fault]) -> Iterator[None]:
    """Errors of libraries over a checkpoint's files, told as `run` tells them; those of the machine stay."""
    try:
        yield
    except Exception as error:
        if explain is fault_of_model and isinstance(error, _OF_THE_MACHINE) and not damaged(checkpoint):
            raise
        raise ValueError(f"{checkpoint}: {explain(checkpoint, error)}") from error


def _built_beside(checkpoint: Path, weights: dict[str, mx.array]) -> tuple[Any, dict[str, Any]]:
    """A model built while its weights are still coming; None where mlx-lm made new arrays of its parameters.

    Of mx.load's own lazy arrays: whatever mlx-lm computes of them on the way is right, and those that it
    takes as they are make room for `weights`.
    """
    lazy: dict[str, mx.array] = {}
    for shard in shards_of(checkpoint):
        arrays = mx.load(str(shard.path))
        assert isinstance(arrays, dict)
        lazy |= arrays
    model, config = build(checkpoint, lazy)
    names = {id(array): name for name, array in lazy.items()}
    parameters: list[tuple[str, mx.array]] = tree_flatten(model.parameters())  # type: ignore[assignment]
    if not all(id(array) in names for _, array in parameters):
        return None, config
    model.update(tree_unflatten([(path, weights[names[id(array)]]) for path, array in parameters]))
    return model, config


def pick(checkpoint: Path, slab_bytes: int, known: Limits | None) -> tuple[str, str]:
    """auto's loader for a checkpoint now, and why.

    `slab_bytes`: memory that a slab holds already. `known`: what was measured of the volume, by `limits_of`.
    """
    try:
        shards = shards_of(checkpoint)
    except UnfitError as error:
        return "stock", f"auto picked stock: {error}"
    share = page_cache.residency([shard.path for shard in shards]).share
    resident = f"{share:.0%} of it is in the page cache"
    hindrance = unmappable(shards)
    if share >= _RESIDENT_SHARE and not hindrance:
        return "map", f"auto picked map: {resident}"
    free = allowance.memory().available
    if room_for(shards) - slab_bytes > _MEMORY_SHARE * free.bytes:
        kind, why = "map", f"memory is too short for a copy{free.limited}"
        if hindrance:
            kind, why = "stock", f"{why}, and map can't be: {hindrance}"
    elif share >= _RESIDENT_SHARE:
        kind, why = "slab", f"{resident}, and map can't be: {hindrance}"
    else:
        kind, measured = _slab_or_direct(known, share)
        why = f"{resident}, {measured}"
    return kind, f"auto picked {kind}: {why}"


def _slab_or_direct(known: Limits | None, share: float) -> tuple[str, str]:
    if known is None:
        return "slab", "and cold reads aren't measured there: run swapbench probe"
    direct, buffered, cached = known.best("disk"), known.best("disk_buffered"), known.best("read_touched")
    if direct is None or buffered is None:
        return "slab", "and probe has not measured cold reads both ways there"
    resident = share / cached.median if cached else 0.0
    slower = 1 / direct.median > (1 - share) / buffered.median + resident
    rates = f"{direct.median:.1f} GB/s past it and {buffered.median:.1f} through it by swapbench probe"
    return "slab" if slower else "direct", rates


def limits_of(checkpoint: Path) -> Limits | None:
    """What `swapbench probe` measured of a checkpoint's volume; None where it hasn't."""
    try:
        return load_limits(this_machine(), Volume.of(checkpoint), cache_root())
    except (UsageError, UnicodeEncodeError, ImportError):  # nowhere to keep any, or no psutil
        return None
