"""Files that `swapbench init` writes, from templates that are filled in by name."""

from pathlib import Path
from typing import Final

from swapbench.base.files import write_atomically

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
