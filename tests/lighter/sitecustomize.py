"""Has transformers keep what it finds out about its own files, beside their bytecode.

Else each process that tests start reads all four thousand of them anew: half of what importing mlx-lm takes.
"""

import os
import pickle
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

_MODULE = "transformers.utils.import_utils"


class _Finder:
    """Finds that one module, with its function replaced."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != _MODULE:
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                module.__dict__["define_import_structure"] = _kept(module.define_import_structure)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _kept(find_out: Callable[[str | Path, str | None], Any]) -> Callable[[str | Path, str | None], Any]:
    def define_import_structure(module_path: str | Path, prefix: str | None = None) -> Any:
        folder = Path(module_path)
        folder = folder.parent if folder.suffix else folder
        kept = folder / "__pycache__" / f"structure-{prefix}-{folder.stat().st_mtime_ns}.pickle"
        with suppress(OSError):
            return pickle.loads(kept.read_bytes())
        found = find_out(module_path, prefix)
        with suppress(OSError):
            new = kept.with_suffix(f".{os.getpid()}")
            new.write_bytes(pickle.dumps(found))
            new.replace(kept)
        return found

    return define_import_structure


sys.meta_path.insert(0, _Finder())
