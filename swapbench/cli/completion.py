"""What a shell completes: names that are known here, had without opening what they name."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin

if TYPE_CHECKING:
    from pydantic import BaseModel

    from swapbench.store import RunInfo

Completions = list[str | tuple[str, str]]


def experiments(incomplete: str) -> Completions:
    """Experiments by name; their files complete as files do."""
    from swapbench.spec.experiment import discover

    return _beginning(incomplete, discover())


def runs(ctx: Any, incomplete: str) -> Completions:
    """Run ids with their experiment, latest first."""
    found = sorted(_run_folders(ctx), key=lambda folder: folder.name, reverse=True)
    return [(f.name, f.parent.name) for f in found if f.name.startswith(incomplete)]


def runs_and_experiments(ctx: Any, incomplete: str) -> Completions:
    """As `runs`, and the experiments that have been run, which stand for their latest."""
    ran = {folder.parent.name for folder in _run_folders(ctx)}
    return [
        *runs(ctx, incomplete),
        *((name, "its latest run") for name in sorted(ran) if _fits(name, incomplete)),
    ]


def experiments_run(ctx: Any, incomplete: str) -> Completions:
    """Experiments that have a run."""
    return _beginning(incomplete, sorted({folder.parent.name for folder in _run_folders(ctx)}))


def baselines(ctx: Any, incomplete: str) -> Completions:
    """Baselines by name."""
    from swapbench.compare.baselines import names

    return _beginning(incomplete, [name for root in _roots(ctx) for name in names(root)])


def models(incomplete: str) -> Completions:
    """Models of the catalogue, and those that were made."""
    from swapbench.models.catalogue import CATALOGUE

    titles = {entry.name: entry.title for entry in CATALOGUE}
    known_minis = {entry.mini_name for entry in CATALOGUE}
    others = [name for name in _made() if name not in titles and name not in known_minis]
    known = [*titles.items(), *((name, "made here") for name in others)]
    return [pair for pair in known if _fits(pair[0], incomplete)]


def made_models(incomplete: str) -> Completions:
    """Models that were made, and can be removed."""
    return _beginning(incomplete, _made())


def models_and_experiments(incomplete: str) -> Completions:
    """Models, and experiments, which stand for theirs."""
    return [*experiments(incomplete), *models(incomplete)]


def targets(incomplete: str) -> Completions:
    """What `--target` takes by name."""
    from swapbench.run.targets import BUILT_IN, orchestrators
    from swapbench.spec.preset import shipped

    return _beginning(incomplete, (*BUILT_IN, *shipped(), *orchestrators()))


def strategies(ctx: Any, incomplete: str) -> Completions:
    """Strategies by name: those of the run on the line; or all that are known, with the experiment's own."""
    from swapbench.spec.strategy import NAMED

    known = () if "run" in ctx.params else NAMED
    return _beginning(incomplete, dict.fromkeys((*known, *_strategies_in(_document(ctx)))))


def scenarios(ctx: Any, incomplete: str) -> Completions:
    """Scenarios of the experiment that stands on the line."""
    written = _document(ctx).get("scenario")
    tables = written if isinstance(written, list) else []
    return _beginning(incomplete, _texts(table.get("name") for table in tables if isinstance(table, dict)))


def figures(incomplete: str) -> Completions:
    """What `history` can follow."""
    from swapbench.store.medians import FIGURES

    return _beginning(incomplete, FIGURES)


def arms(ctx: Any, incomplete: str) -> Completions:
    """The sides of the run that stands on the line; of one that has none, the two that most have."""
    run = _run(ctx)
    return _beginning(incomplete, [arm.name for arm in run.arms] if run is not None and run.arms else "AB")


def sources(incomplete: str) -> Completions:
    """Where checkpoints can come from."""
    known = {
        "hub": "the real checkpoints",
        "synthetic": "full size, random weights",
        "mini": "scaled down",
        "local": "folders that the experiment names",
    }
    return [pair for pair in known.items() if _fits(pair[0], incomplete)]


def named_sources(incomplete: str) -> Completions:
    """Those in which models have names."""
    return [pair for pair in sources(incomplete) if pair[0] != "local"]


def made_sources(incomplete: str) -> Completions:
    """Where those come from that were made."""
    from swapbench.models.stand_ins.store import MADE_SOURCES

    return [pair for pair in sources(incomplete) if pair[0] in MADE_SOURCES]


def settings(ctx: Any, incomplete: str) -> Completions:
    """Keys that `--set` takes, as far as the equals sign; models by the names that the experiment has."""
    from swapbench.spec.experiment import Experiment

    named = _document(ctx).get("models")
    keys = [
        *keys_of(Experiment),
        "strategy",  # by name; its tables have names of their own
        *(f"models.{name}" for name in _texts(named if isinstance(named, dict) else ())),
    ]
    return _beginning(incomplete, [f"{key}=" for key in keys])


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


def page_caches(incomplete: str) -> Completions:
    """What can be made true of the page cache."""
    known = {"warm": "read in before", "cold": "dropped before", "as-is": "only looked at"}
    return [pair for pair in known.items() if _fits(pair[0], incomplete)]


def _strategies_in(document: dict[str, Any]) -> list[str]:
    """A file may give one name, a list of names, or tables by name."""
    written = document.get("strategy")
    return _texts(written if isinstance(written, list | dict) else [written])


def _texts(written: Iterable[Any]) -> list[str]:
    return [text for text in written if isinstance(text, str)]


def _document(ctx: Any) -> dict[str, Any]:
    """What the experiment on the line says, as it is written; nothing where it can't be read."""
    import tomllib

    from swapbench.base.errors import UsageError
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
    from swapbench.base.errors import ResultsError
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


def _run_folders(ctx: Any) -> Iterator[Path]:
    from swapbench.store import find_runs

    for root in _roots(ctx):
        yield from find_runs(root)


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


def _made() -> list[str]:
    from swapbench.base.errors import UsageError
    from swapbench.models.stand_ins.store import MADE_SOURCES, made

    try:
        return sorted({name for source in MADE_SOURCES for name in made(source)})
    except UsageError:  # of a user without a home
        return []


def _beginning(incomplete: str, names: Iterable[str]) -> Completions:
    return [name for name in names if _fits(name, incomplete)]


def _fits(name: str, incomplete: str) -> bool:
    return name.startswith(incomplete)
