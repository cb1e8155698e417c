"""The command line: options that several commands have, and one line for what can't be understood."""

import re
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from swapbench.base.errors import UsageError, did_you_mean, nearest
from swapbench.base.interrupts import exit_code, in_words
from swapbench.cli import completion
from swapbench.cli.output import complain
from swapbench.spec.overrides import Override, sets, short_for

# Typer carries Click within itself from 0.29 on, and before took it from elsewhere: whichever is here.
UnderstoodNot: Final[type[Exception]] = typer.BadParameter.__mro__[1]

# Of an argument, some typers show the Python type beside what it is called.
_TYPE: Final = re.compile(r" <[^<>|]+>$")

_KEYS: Final = {
    "--models": "source",
    "--rounds": "rounds",
    "--warmup": "warmup",
    "--page-cache": "page_cache",
    "--target": "target",
    "--seed": "seed",
    "--hosts": "sharded.ranks",
    "--hostfile": "sharded.hostfile",
}

Completion = Callable[..., completion.Names]


def option(metavar: str, says: str, complete: Completion | None = None, *names: str, **more: Any) -> Any:
    """An option with a value: what that is called, what the option does, and how a shell completes it."""
    return typer.Option(*names, metavar=metavar, help=says, autocompletion=complete, **more)


def argument(metavar: str, says: str, complete: Completion | None = None) -> Any:
    """As `option`."""
    return typer.Argument(metavar=metavar, help=says, autocompletion=complete)


def _writable(ctx: typer.Context, out: Path) -> Path:
    """Looked at before anything else is done: what is measured has to be kept."""
    from swapbench.store import refuse_unwritable

    if not ctx.resilient_parsing:
        refuse_unwritable(out)
    return out


def _page(ctx: typer.Context, html: Path | None) -> Path | None:
    """Looked at before anything is drawn, which takes its time."""
    from swapbench.base.files import why_no_file

    if html is not None and not ctx.resilient_parsing and (why := why_no_file(html)):
        raise UsageError(f"--html {html}: can't be written: {why}; choose another place, as ./report.html")
    return html


Experiment = Annotated[
    str, argument("EXPERIMENT", "An experiment's name, or a TOML file.", completion.experiments)
]
Models = Annotated[
    str | None,
    option(
        "SOURCE", "Where checkpoints come from: hub, synthetic, mini or local (paths).", completion.sources
    ),
]
PageCache = Annotated[
    str | None,
    option("STATE", "State of the page cache before each load: warm, cold or as-is.", completion.page_caches),
]
Settings = Annotated[
    list[str] | None,
    option(
        "KEY=VALUE", "Override any key: --set workload.agents=4; repeatable.", completion.settings, "--set"
    ),
]
Html = Annotated[
    Path | None,
    option("FILE", "Write an HTML page to this file instead of printing.", callback=_page),
]
Out = Annotated[Path, option("DIR", "Where runs are kept.", callback=_writable)]
Results = Annotated[Path, option("DIR", "Where runs are kept.")]
Margin = Annotated[
    float | None, option("SHARE", "A slowdown by more than this share is a regression: 0.05.", min=0, max=10)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
FailFast = Annotated[bool, typer.Option("--fail-fast", help="Stop at the first failed swap.")]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 6 if a verdict is inconclusive.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only the report.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Log what is done and why: steps, phases, page cache, loader.")
]


def overrides_of(settings: list[str] | None, short: Mapping[str, object]) -> list[Override]:
    """What was given by --set, and by options that are short for a key and checked as it is."""
    given = [one for name, value in short.items() for one in short_for(_KEYS[name], name, value)]
    return [*sets(settings or ()), *given]


def refuse_page_and_form(html: Path | None, form: str) -> None:
    """A report is written as a page, or printed in another form."""
    if html is not None and form != "rich":
        raise UsageError(f"--html writes a page, --format {form} prints another form: one at a time")


def interpreter_of(python: Path | None) -> str:
    """By a path that leads there from anywhere; links stay, or an environment would not know itself."""
    found = sys.executable if python is None else shutil.which(python)
    return str(python) if found is None else str(Path(found).absolute())


def command_line() -> list[str]:
    """What was typed, as run.json keeps it."""
    return ["swapbench", *sys.argv[1:]]


class Command(TyperCommand):
    """A command, whose help has nothing of Python."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """As Typer's, without the types of arguments: options have words of their own."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            if parameter.param_type_name == "argument":
                sections["Arguments"].append((_TYPE.sub("", record[0]), record[1]))
            else:
                sections["Options"].append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


class CommandGroup(TyperGroup):
    """A command of commands, which knows what was meant by one that there isn't."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As Typer's. `help run` and `version`, of other programs, are options here."""
        word, path = args[0], ctx.command_path
        if word.startswith("-") or ctx.resilient_parsing or self.get_command(ctx, word) is not None:
            return super().resolve_command(ctx, args)
        if word == "version":
            raise UsageError(f'no command "{word}"; did you mean `{ctx.find_root().command_path} --version`?')
        if word == "help":
            command: Any = self
            for name in args[1:]:
                command = getattr(command, "commands", {}).get(name)
                if command is None:
                    break
                path += f" {name}"
            raise UsageError(f'no command "{word}"; did you mean `{path} --help`?')
        hint = did_you_mean(word, self.list_commands(ctx))
        raise UsageError(f'no command "{word}"; {_before(hint)}`{path} --help` shows them all')

    def invoke(self, ctx: Any) -> Any:
        """As Typer's, which would end without a word where the user interrupts it."""
        try:
            return super().invoke(ctx)
        except UnderstoodNot as error:
            # An option that has no value: only here is it known of which command.
            if getattr(error, "ctx", None) is not None or ctx.invoked_subcommand is None:
                raise
            raise UsageError(sentence_of(error, f"{ctx.command_path} {ctx.invoked_subcommand}")) from None
        except KeyboardInterrupt as error:
            complain(in_words(error))
            raise typer.Exit(exit_code(error)) from None


def sentence_of(error: Any, command: str = "swapbench") -> str:
    """An error of Typer's as one line: what, what instead, and where it is explained."""
    if error.ctx is not None:
        command = error.ctx.command_path
    return f"{_before(_complaint(error))}`{command} --help` shows how"


def _before(text: str) -> str:
    return f"{text} " if text.endswith("?") else f"{text}; "


def _complaint(error: Any) -> str:
    if hasattr(error, "option_name") and hasattr(error, "possibilities"):
        options = [name for parameter in error.ctx.command.get_params(error.ctx) for name in parameter.opts]
        # Dashes make no two options alike.
        known = [name.removeprefix("--") for name in options if name.startswith("--")]
        near = nearest(error.option_name.lstrip("-"), known)
        hint = f'did you mean "--{near}"?' if near else f"known: {', '.join(f'--{name}' for name in known)}"
        return f"no option {error.option_name}; {hint}"
    message = " ".join(error.format_message().split()).rstrip(".")
    wrong = re.fullmatch(r"Invalid value for (.+?): (?:Value error, )?(.+)", message)
    if wrong is None:
        return message[:1].lower() + message[1:]
    option, why = wrong[1].replace("'", ""), wrong[2]
    choice = re.fullmatch(r"'(.*)' is not one of (.+)", why)
    if choice is None:
        return f"{option}: {why[:1].lower()}{why[1:]}"
    known = re.findall(r"'([^']+)'", choice[2])
    return f'{option}: "{choice[1]}" is not allowed; {did_you_mean(choice[1], known)}'


def group(name: str, says: str, *examples: str, codes: str) -> typer.Typer:
    """A command of commands that explains itself as every command does."""
    shown = "\n".join(f"  {example}" for example in examples)
    return typer.Typer(
        name=name,
        cls=CommandGroup,
        no_args_is_help=True,
        rich_markup_mode=None,
        help=f"{says}\n\n\b\nExamples:\n{shown}\n\nExit codes: {codes}.",
    )
