"""The `swapbench` command: parse, call, print. Heavy imports wait until a command runs."""

import errno
import sys
from typing import Final

import typer

from swapbench import __version__
from swapbench.base import interrupts
from swapbench.base.errors import Exit, OutputError, SwapbenchError, UsageError
from swapbench.cli import experiments, gate, machine, models, output, report, run
from swapbench.cli.options import Command, CommandGroup, UnderstoodNot, sentence_of

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
for _command in (
    *(run.run, report.report, report.runs, report.compare, run.ab, gate.gate, gate.history),
    *(experiments.list_, experiments.show, experiments.schema, experiments.targets),
    *(machine.probe, machine.doctor, machine.selfcheck),
):
    app.command(_command.__name__.rstrip("_"), cls=Command)(_command)
for _group in (gate.baseline, experiments.init, models.app):
    app.add_typer(_group)


def _print_version(value: bool) -> None:
    """As installed beside this command, and not imported: a worker's own stand in its run.json."""
    from importlib.metadata import PackageNotFoundError, version

    if not value:
        return
    print(f"swapbench {__version__}")
    for name in ("mlx", "mlx-lm"):
        try:
            print(f"{name} {version(name)}")
        except PackageNotFoundError:
            print(f"{name} not installed")
    print(f"Python {sys.version.partition(' ')[0]}")
    raise typer.Exit


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


def _carry_out() -> int | None:
    try:
        for word in sys.argv[1:]:
            word.encode()  # results and reports are text, and could not name it
        code: int | None = app(prog_name="swapbench", standalone_mode=False)
    except OSError as error:
        # That there is no room, or that a folder is another user's, may show only at the end.
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
