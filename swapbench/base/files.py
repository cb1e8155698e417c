"""Writing files so that a reader never sees half of one, and asking beforehand whether that can be done."""

import os
from pathlib import Path


def write_atomically(path: Path, text: str) -> None:
    """Replace a file's text so that a reader sees the old one or the new one, never a part."""
    part = _part_of(path)
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
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
