"""The `swapbench` command: parse, call, print. Heavy imports wait until a command runs."""

import errno
import sys
from typing import Final

import typer

from swapbench import __version__
from swapbench.base import interrupts
from swapbench.base.errors import Exit, OutputError, SwapbenchError, UsageError
from swapbench.cli import experiments, init, models, output, report
from swapbench.cli.compare import ab, compare
from swapbench.cli.gate import gate
from swapbench.cli.history import baseline, history
from swapbench.cli.machine import doctor, probe, selfcheck
from swapbench.cli.run import run
from swapbench.cli.usage import Command, CommandGroup, UnderstoodNot, sentence_of

# Of the operating system's failures, those that only the user can mend, and how.
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_INSTEAD: Final = dict.fromkeys(_FULL, "make room, or choose another place") | dict.fromkeys(
    (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENAMETOOLONG),
    "choose another place, by --out, or by HOME, SWAPBENCH_CACHE and HF_HOME",
)

app = typer.Typer(
    name="swapbench",
    cls=CommandGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(cls=Command)(run)
app.command(cls=Command)(report.report)
app.command(cls=Command)(report.runs)
app.command(cls=Command)(compare)
app.command(cls=Command)(ab)
app.command(cls=Command)(gate)
app.add_typer(baseline, name="baseline")
app.add_typer(init.app, name="init")
app.command(cls=Command)(history)
app.command("list", cls=Command)(experiments.list_)
app.command(cls=Command)(experiments.show)
app.command(cls=Command)(experiments.schema)
app.command(cls=Command)(experiments.targets)
app.command(cls=Command)(probe)
app.command(cls=Command)(doctor)
app.command(cls=Command)(selfcheck)
app.add_typer(models.app, name="models")


def _print_version(value: bool) -> None:
    if value:
        for line in _versions():
            print(line)
        raise typer.Exit


def _versions() -> list[str]:
    """As installed beside this command, and not imported: a worker's own stand in its run.json."""
    from importlib.metadata import PackageNotFoundError, version

    lines = [f"swapbench {__version__}"]
    for name in ("mlx", "mlx-lm"):
        try:
            lines.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            lines.append(f"{name} not installed")
    return [*lines, f"Python {sys.version.partition(' ')[0]}"]


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", "-V", callback=_print_version, is_eager=True, help="Print the versions and exit."
    ),
) -> None:
    """How long a machine takes to unload one LLM and serve another, phase by phase.

    \b
    Examples:
      swapbench run quick
      swapbench report
      swapbench list

    Exit codes: 0 fine, 1 a crash, 2 usage, 3 regression, 4 target missed, 5 leak, 6 inconclusive or invalid,
    7 a swap or a target failed, 130 interrupted.
    """


def main() -> None:
    """Run the command line; every failure that is explained becomes one line and its exit code."""
    output.guard()
    interrupts.heed()
    try:
        sys.exit(_carry_out())
    except (KeyboardInterrupt, Exception) as error:  # noqa: BLE001 - the border: what is no crash is explained
        sys.exit(_explained(error))
    finally:
        interrupts.ignore()


def _explained(error: KeyboardInterrupt | Exception) -> Exit:
    """Have a failure told; a crash goes on."""
    if ended := interrupts.behind(error):
        interrupts.ignore()
        output.complain(interrupts.in_words(ended))
        return interrupts.exit_code(ended)
    if isinstance(error, SwapbenchError):
        output.complain(error)
        return error.exit_code
    if not isinstance(error, UnderstoodNot):
        raise error
    if type(error).__name__ == "NoArgsIsHelpError":
        output.say(str(error))
    else:
        output.complain(sentence_of(error))
    return Exit.USAGE


def _carry_out() -> int | None:
    """That there is no room, or that a folder is another user's, may show only at the end.

    Raises:
        OutputError: there is no room for it, or it may not be written, or read.
        UsageError: something is named by what is no text.
    """
    try:
        for word in sys.argv[1:]:
            word.encode()  # results and reports are text, and could not name it
        code: int | None = app(prog_name="swapbench", standalone_mode=False)
    except OSError as error:
        if error.errno not in _INSTEAD or (error.errno not in _FULL and not error.filename):
            raise
        where = f"{error.filename}: " if error.filename else ""
        raise OutputError(f"{where}{error.strerror}; {_INSTEAD[error.errno]}") from None
    except UnicodeEncodeError as error:
        raise UsageError(
            f'"{error.object}": is no text in this locale; choose another name, or a locale of UTF-8, as '
            "LC_ALL=C.UTF-8"
        ) from None
    finally:
        output.flush_output()
    return code
