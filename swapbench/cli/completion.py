"""What a shell completes: names that are known here, had without opening what they name.

Typer keeps those that begin as the word does.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args, get_origin

from swapbench.base.errors import ResultsError, UsageError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from swapbench.store import RunInfo

# A name, or a name and what it is.
Names = Iterable[str | tuple[str, str]]

SOURCES: Final = {
    "hub": "the real checkpoints",
    "synthetic": "full size, random weights",
    "mini": "scaled down",
    "local": "folders that the experiment names",
}
PAGE_CACHES: Final = {"warm": "read in before", "cold": "dropped before", "as-is": "only looked at"}


def sources() -> Names:
    return SOURCES.items()


def named_sources() -> Names:
    """Those in which models have names."""
    return [pair for pair in SOURCES.items() if pair[0] != "local"]


def made_sources() -> Names:
    """Those whose checkpoints swapbench makes."""
    return [pair for pair in SOURCES.items() if pair[0] in ("synthetic", "mini")]


def page_caches() -> Names:
    return PAGE_CACHES.items()


def experiments() -> Names:
    """By name; their files complete as files do."""
    from swapbench.spec.experiment import discover

    return discover()


def runs(ctx: Any) -> Names:
    """Run ids with their experiment, latest first."""
    found = sorted(_run_folders(ctx), key=lambda folder: folder.name, reverse=True)
    return [(folder.name, folder.parent.name) for folder in found]


def runs_and_experiments(ctx: Any) -> Names:
    """As `runs`, and the experiments that have been run, which stand for their latest."""
    return [*runs(ctx), *((name, "its latest run") for name in experiments_run(ctx))]


def experiments_run(ctx: Any) -> list[str]:
    """Experiments that have a run."""
    return sorted({folder.parent.name for folder in _run_folders(ctx)})


def baselines(ctx: Any) -> Names:
    from swapbench.compare import history

    return [name for root in _roots(ctx) for name in history.baselines(root)]


def models() -> Names:
    """Models of the catalogue, and those that were made."""
    from swapbench.models.catalogue import CATALOGUE

    titles = {entry.name: entry.title for entry in CATALOGUE}
    known = {*titles, *(entry.mini_name for entry in CATALOGUE)}
    return [*titles.items(), *((name, "made here") for name in made_models() if name not in known)]


def made_models() -> list[str]:
    """Models that were made, and can be removed."""
    from swapbench.models.stand_ins.store import MADE_SOURCES, made

    try:
        return sorted({name for source in MADE_SOURCES for name in made(source)})
    except UsageError:  # of a user without a home
        return []


def models_and_experiments() -> Names:
    """Models, and experiments, which stand for theirs."""
    return [*experiments(), *models()]


def targets() -> Names:
    """What `--target` takes by name."""
    from swapbench.run.targets import BUILT_IN, orchestrators
    from swapbench.spec.preset import shipped

    return (*BUILT_IN, *shipped(), *orchestrators())


def strategies(ctx: Any) -> Names:
    """Those of the run on the line; or all that are known, with the experiment's own."""
    from swapbench.spec.strategy import NAMED

    # A file may give one name, a list of names, or tables by name.
    written = _document(ctx).get("strategy")
    own = _texts(written if isinstance(written, list | dict) else [written])
    return dict.fromkeys((*(() if "run" in ctx.params else NAMED), *own))


def scenarios(ctx: Any) -> Names:
    """Scenarios of the experiment that stands on the line."""
    written = _document(ctx).get("scenario")
    tables = written if isinstance(written, list) else []
    return _texts(table.get("name") for table in tables if isinstance(table, dict))


def figures() -> Names:
    """What `history` can follow."""
    from swapbench.store.tables import FIGURES

    return FIGURES


def arms(ctx: Any) -> Names:
    """The sides of the run that stands on the line; of one that has none, the two that most have."""
    run = _run(ctx)
    return [arm.name for arm in run.arms] if run is not None and run.arms else "AB"


def settings(ctx: Any) -> Names:
    """Keys that `--set` takes, as far as the equals sign; models by the names that the experiment has."""
    from swapbench.spec.experiment import Experiment

    named = _document(ctx).get("models")
    models = _texts(named if isinstance(named, dict) else ())
    # Strategies are given by name: their tables have names of their own.
    return [f"{key}=" for key in (*keys_of(Experiment), "strategy", *(f"models.{name}" for name in models))]


def keys_of(model: "type[BaseModel]", above: str = "") -> Iterator[str]:
    """Every key that has one value, dotted where it stands in a table."""
    from pydantic import BaseModel

    for name, field in model.model_fields.items():
        kinds = get_args(field.annotation) or (field.annotation,)
        tables = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if get_origin(field.annotation) in (tuple, dict) or name == "schema_version":
            continue
        if tables:
            yield from keys_of(tables[0], f"{above}{name}.")
        else:
            yield f"{above}{field.alias or name}"


def _texts(written: Iterable[Any]) -> list[str]:
    return [text for text in written if isinstance(text, str)]


def _document(ctx: Any) -> dict[str, Any]:
    """What the experiment on the line says, as it is written; nothing where it can't be read."""
    import tomllib

    from swapbench.spec.experiment import find

    if "run" in ctx.params:
        run = _run(ctx)
        return {} if run is None else run.experiment
    try:
        path = find(str(_from_home(_argument(ctx, "experiment") or "")))
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (UsageError, OSError, ValueError, RecursionError):
        return {}


def _run(ctx: Any) -> "RunInfo | None":
    """The run on the line, or the latest; None where it can't be read."""
    from swapbench.store import read_info, resolve

    (root, *_) = _roots(ctx)
    try:
        return read_info(resolve(root, _argument(ctx, "run")))
    except ResultsError:
        return None


def _argument(ctx: Any, name: str) -> str | None:
    """The first argument on the line.

    An option that has no value yet ends the parsing before any argument is bound: they stay in `args`.
    """
    said = ctx.params.get(name) or next(iter(ctx.args), None)
    return None if said is None else str(said)


def _run_folders(ctx: Any) -> list[Path]:
    from swapbench.store import find_runs

    return [folder for root in _roots(ctx) for folder in find_runs(root)]


def _roots(ctx: Any) -> list[Path]:
    """Where the line says that runs are kept."""
    said = ctx.params.get("results") or ctx.params.get("out") or Path("results")
    return [_from_home(root) for root in (said if isinstance(said, list | tuple) else [said])]


def _from_home(path: Path | str) -> Path:
    """A path with its ~ replaced, which shells leave in the line that they hand over."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # of a user who isn't there
        return Path(path)
