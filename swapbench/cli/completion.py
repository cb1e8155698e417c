"""What a shell completes: names that are known here, had without opening what they name."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

Completions = list[str | tuple[str, str]]


def experiments(incomplete: str) -> Completions:
    """Experiments by name; their files complete as files do."""
    from swapbench.experiment import discover

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
    from swapbench.baselines import names

    return _beginning(incomplete, [name for root in _roots(ctx) for name in names(root)])


def models(incomplete: str) -> Completions:
    """Models of the catalogue, and those that were made."""
    from swapbench.models.catalogue import CATALOGUE

    titles = {entry.name: entry.title for entry in CATALOGUE}
    others = [name for name in _made() if name not in titles]
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
    from swapbench.preset import shipped
    from swapbench.targets import BUILT_IN, orchestrators

    return _beginning(incomplete, (*BUILT_IN, *shipped(), *orchestrators()))


def strategies(ctx: Any, incomplete: str) -> Completions:
    """Strategies by name: those that swapbench knows, and those of the experiment that stands on the line."""
    from swapbench.strategy import NAMED

    return _beginning(incomplete, dict.fromkeys((*NAMED, *_strategies_of(ctx.params.get("experiment")))))


def scenarios(ctx: Any, incomplete: str) -> Completions:
    """Scenarios of the experiment that stands on the line."""
    written = _document(ctx.params.get("experiment")).get("scenario", ())
    return _beginning(incomplete, [str(scenario.get("name", "")) for scenario in written])


def figures(incomplete: str) -> Completions:
    """What `history` can follow."""
    from swapbench.medians import FIGURES

    return _beginning(incomplete, FIGURES)


def arms(incomplete: str) -> Completions:
    """The sides of an A/B run."""
    return _beginning(incomplete, ("A", "B"))


def sources(incomplete: str) -> Completions:
    """Where checkpoints can come from."""
    known = {"hub": "the real checkpoints", "synthetic": "full size, random weights", "mini": "scaled down"}
    return [pair for pair in known.items() if _fits(pair[0], incomplete)]


def page_caches(incomplete: str) -> Completions:
    """What can be made true of the page cache."""
    known = {"warm": "read in before", "cold": "dropped before", "as-is": "only looked at"}
    return [pair for pair in known.items() if _fits(pair[0], incomplete)]


def _strategies_of(experiment: Any) -> Iterable[str]:
    written = _document(experiment).get("strategy", ())
    return [written] if isinstance(written, str) else [str(name) for name in written]


def _document(experiment: Any) -> dict[str, Any]:
    """What an experiment's file says; nothing where there is none that could be read."""
    import tomllib

    from swapbench.errors import UsageError
    from swapbench.experiment import find

    try:
        return tomllib.loads(find(str(experiment)).read_text(encoding="utf-8"))
    except (UsageError, OSError, ValueError):
        return {}


def _run_folders(ctx: Any) -> Iterator[Path]:
    from swapbench.results import find_runs

    for root in _roots(ctx):
        yield from find_runs(root)


def _roots(ctx: Any) -> list[Path]:
    """Where the line says that runs are kept."""
    said = ctx.params.get("results") or ctx.params.get("out") or Path("results")
    return [Path(root) for root in said] if isinstance(said, list | tuple) else [Path(said)]


def _made() -> list[str]:
    from swapbench.models.store import MADE_SOURCES, made

    return sorted({name for source in MADE_SOURCES for name in made(source)})


def _beginning(incomplete: str, names: Iterable[str]) -> Completions:
    return [name for name in names if _fits(name, incomplete)]


def _fits(name: str, incomplete: str) -> bool:
    return name.startswith(incomplete)
