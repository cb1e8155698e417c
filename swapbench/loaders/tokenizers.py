"""The tokenizer: mlx-lm's way after the weights, leanly from the swap request on, or kept across swaps."""

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from threading import Thread
from typing import Any

from mlx_lm.utils import load_config

from swapbench.loaders.tokenizer import load_lean, load_stock
from swapbench.spec.strategy import TokenizerMode


class Tokenizers:
    """Tokenizers of one process."""

    def __init__(self, mode: TokenizerMode) -> None:
        self._mode = mode
        self._coming: dict[Path, _Later] = {}
        self._kept: dict[tuple[Path, tuple[tuple[str, int, int], ...]], tuple[Any, str]] = {}

    def begin(self, checkpoint: Path) -> None:
        """Have a checkpoint's tokenizer soon."""
        if (
            self._mode is TokenizerMode.STOCK
            or checkpoint in self._coming
            or _state(checkpoint) in self._kept
        ):
            return
        # One at a time: what was begun for a swap that came to nothing is of no use.
        self._coming = {checkpoint: _Later(lambda: _lean(checkpoint))}

    def get(self, checkpoint: Path, config: dict[str, Any]) -> tuple[Any, str]:
        """The tokenizer, and why it came otherwise than asked for; empty when it didn't.

        Raises:
            Exception: whatever transformers makes of the files.
        """
        if self._mode is TokenizerMode.STOCK:
            return load_stock(checkpoint, config.get("eos_token_id")), ""
        state = _state(checkpoint)
        if state in self._kept:
            return self._kept[state]
        coming = self._coming.pop(checkpoint, None)
        found: tuple[Any, str] = coming.result() if coming is not None else _lean(checkpoint)
        if self._mode is TokenizerMode.KEEP:
            self._kept[state] = found
        return found

    def close(self) -> None:
        """Keep none."""
        self._coming.clear()
        self._kept.clear()


def _lean(checkpoint: Path) -> tuple[Any, str]:
    lean = load_lean(checkpoint, load_config(checkpoint).get("eos_token_id"))
    return lean.tokenizer, lean.why


def _state(checkpoint: Path) -> tuple[Path, tuple[tuple[str, int, int], ...]]:
    """A folder with what its small files are: other contents are another tokenizer."""
    files = sorted(path for path in checkpoint.iterdir() if path.suffix != ".safetensors" and path.is_file())
    stats = [(path.name, path.stat()) for path in files]
    return checkpoint, tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


class _Later:
    """A call on a thread of its own, of which the result is wanted later."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._future: Future[Any] = Future()
        Thread(target=self._run, args=(call,), name="tokenizer", daemon=True).start()

    def _run(self, call: Callable[[], Any]) -> None:
        try:
            self._future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - a thread's border: whoever waits is told
            self._future.set_exception(error)

    def result(self) -> Any:
        """Wait for it; raises what it raised."""
        return self._future.result()
