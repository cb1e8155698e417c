"""Files: never half-written, below a home folder, or made from a template."""

import os
from pathlib import Path
from typing import Final

from swapbench.base.errors import UsageError


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace what a file holds so that a reader sees the old or the new, never a part."""
    part = _part_of(path)
    with part.open("wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def why_no_folder(place: Path) -> str:
    """Why nothing can be kept below a folder, which need not be there yet, and isn't made; empty if it can.

    Raises:
        UnicodeEncodeError: where it is has no name in text, as results and reports would have to give.
    """
    str(place.absolute()).encode()
    nearest = next(folder for folder in (place, *place.parents) if os.path.lexists(folder))
    if not nearest.is_dir():
        return f"{nearest} is no folder"
    return "" if os.access(nearest, os.W_OK | os.X_OK) else f"{nearest} may not be written"


def why_no_file(path: Path) -> str:
    """Why a file can't be written, or replaced; empty if it can."""
    if not path.name:
        return "it names no file"
    try:
        if path.exists() and not path.is_file():
            return "it is no file"
        _part_of(path).lstat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        return str(error.strerror)
    return why_no_folder(path.parent)


def _part_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def expanded(path: str | Path) -> Path:
    """A path with its ~ replaced.

    Raises:
        UsageError: nobody knows where that home folder is.
    """
    try:
        found = Path(path).expanduser()
    except RuntimeError:
        found = Path(path)
    if str(found).startswith("~"):
        raise UsageError(f"{path}: nobody knows that home folder; set HOME, or say the path from / on")
    return found


_TEMPLATES: Final = Path(__file__).parent / "_templates"
_TARGET: Final = _TEMPLATES / "target"
_EXPERIMENT: Final = _TEMPLATES / "experiment.toml.template"


def write_experiment(path: Path, name: str) -> Path:
    """An experiment called `name` that explains itself; returns its file."""
    write_atomically(path, _EXPERIMENT.read_text(encoding="utf-8").replace("{{name}}", name))
    return path


def write_target(folder: Path, name: str) -> tuple[Path, ...]:
    """A package called `name` with an orchestrator to be filled in; returns its files."""
    module = name.replace("-", "_")
    of = {"{{name}}": name, "{{module}}": module, "{{class}}": "".join(p.title() for p in name.split("-"))}
    folder.mkdir()
    written = []
    for template in sorted(_TARGET.iterdir()):
        text = template.read_text(encoding="utf-8")
        for mark, value in of.items():
            text = text.replace(mark, value)
        path = folder / template.name.removesuffix(".template").replace("module", module)
        write_atomically(path, text)
        written.append(path)
    return tuple(written)
