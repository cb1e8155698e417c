"""Options that several commands have, said once."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from swapbench.base.errors import UsageError
from swapbench.cli import completion
from swapbench.spec.overrides import Override, sets, short_for


def _writable(ctx: typer.Context, out: Path) -> Path:
    """Looked at before anything else is done: what is measured has to be kept."""
    from swapbench.store import refuse_unwritable

    if not ctx.resilient_parsing:
        refuse_unwritable(out)
    return out


def _page(ctx: typer.Context, html: Path | None) -> Path | None:
    """Looked at before anything is drawn, which takes its time.

    Raises:
        UsageError: it can't be written there.
    """
    from swapbench.base.files import why_no_file

    if html is not None and not ctx.resilient_parsing and (why := why_no_file(html)):
        raise UsageError(f"--html {html}: can't be written: {why}; choose another place, as ./report.html")
    return html


def refuse_missing(folder: Path | None) -> None:
    """What is tried is tried where something is.

    Raises:
        UsageError: there is no such folder.
    """
    if folder is not None and not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; --folder chooses another place")


def refuse_page_and_form(html: Path | None, form: str) -> None:
    """A report is written as a page, or printed in another form.

    Raises:
        UsageError: both are asked for.
    """
    if html is not None and form != "rich":
        raise UsageError(f"--html writes a page, --format {form} prints another form: one at a time")


Experiment = Annotated[
    str,
    typer.Argument(
        metavar="EXPERIMENT",
        help="An experiment's name, or a TOML file.",
        autocompletion=completion.experiments,
    ),
]
Html = Annotated[
    Path | None,
    typer.Option(
        "--html",
        metavar="FILE",
        help="Write an HTML page to this file instead of printing.",
        callback=_page,
    ),
]
Models = Annotated[
    str | None,
    typer.Option(
        "--models",
        metavar="SOURCE",
        help="Where checkpoints come from: hub, synthetic, mini or local (paths).",
        autocompletion=completion.sources,
    ),
]
PageCache = Annotated[
    str | None,
    typer.Option(
        metavar="STATE",
        help="State of the page cache before each load: warm, cold or as-is.",
        autocompletion=completion.page_caches,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override any key: --set workload.agents=4; repeatable.",
        autocompletion=completion.settings,
    ),
]
Volume = Annotated[
    Path | None,
    typer.Option(
        "--folder",
        metavar="DIR",
        help="Use the volume of this folder. Default: the models' volume.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only the report.")]
Results = Annotated[Path, typer.Option(metavar="DIR", help="Where runs are kept.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Out = Annotated[Path, typer.Option(metavar="DIR", help="Where runs are kept.", callback=_writable)]
FailFast = Annotated[bool, typer.Option("--fail-fast", help="Stop at the first failed swap.")]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 6 if a verdict is inconclusive.")]
Margin = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE", min=0, max=10, help="A slowdown by more than this share is a regression: 0.05."
    ),
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Log what is done and why: steps, phases, page cache, loader.")
]


def overrides_of(
    models: str | None,
    rounds: int | None,
    warmup: int | None,
    page_cache: str | None,
    settings: list[str],
    target: str | None = None,
) -> list[Override]:
    """The options are short for overrides, and checked as these are."""
    return [
        *sets(settings),
        *short_for("source", "--models", models),
        *short_for("rounds", "--rounds", rounds),
        *short_for("warmup", "--warmup", warmup),
        *short_for("page_cache", "--page-cache", page_cache),
        *short_for("target", "--target", target),
    ]


def interpreter_of(python: Path | None) -> str:
    """By a path that leads there from anywhere; links stay, or an environment would not know itself."""
    import shutil

    found = sys.executable if python is None else shutil.which(python)
    return str(python) if found is None else str(Path(found).absolute())


def command_line() -> list[str]:
    """What was typed, as run.json keeps it."""
    return ["swapbench", *sys.argv[1:]]
