"""Files that `swapbench init` writes, from templates that are filled in by name."""

from pathlib import Path
from typing import Final

from swapbench.files import write_atomically

_TARGET: Final = Path(__file__).parent / "_templates" / "target"


def write_target(folder: Path, name: str) -> tuple[Path, ...]:
    """A package called `name` with an orchestrator to be filled in; returns its files."""
    module = name.replace("-", "_")
    of = {"{{name}}": name, "{{module}}": module, "{{class}}": "".join(p.title() for p in name.split("-"))}
    folder.mkdir(parents=True)
    written = []
    for template in sorted(_TARGET.iterdir()):
        text = template.read_text(encoding="utf-8")
        for mark, value in of.items():
            text = text.replace(mark, value)
        path = folder / template.name.removesuffix(".template").replace("module", module)
        write_atomically(path, text)
        written.append(path)
    return tuple(written)
