"""What is said to a command line that can't be understood: one line, like every other failure."""

import re
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from swapbench.base.errors import UsageError, did_you_mean, nearest
from swapbench.base.interrupts import exit_code, in_words
from swapbench.cli.output import complain

# Typer carries Click within itself from 0.29 on, and before took it from elsewhere: whichever is here.
UnderstoodNot: Final[type[Exception]] = typer.BadParameter.__mro__[1]


# Of an argument, some typers show the Python type beside what it is called.
_TYPE: Final = re.compile(r" <[^<>|]+>$")


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
        """As Typer's.

        Raises:
            UsageError: there is no such command.
        """
        word = args[0]
        if not word.startswith("-") and not ctx.resilient_parsing and self.get_command(ctx, word) is None:
            if word in ("help", "version"):
                raise UsageError(f'no command "{word}"; did you mean `{self._option_of(ctx, args)}`?')
            hint = did_you_mean(word, self.list_commands(ctx))
            raise UsageError(f'no command "{word}"; {hint}{_then(hint)}`{_path(ctx)} --help` shows them all')
        return super().resolve_command(ctx, args)

    def _option_of(self, ctx: Any, args: list[str]) -> str:
        """What other programs have as a command is an option here: `help run` is `swapbench run --help`."""
        if args[0] == "version":
            return f"{_path(ctx.find_root())} --version"
        command: Any = self
        path = [_path(ctx)]
        for word in args[1:]:
            command = getattr(command, "commands", {}).get(word)
            if command is None:
                break
            path.append(word)
        return f"{' '.join(path)} --help"

    def invoke(self, ctx: Any) -> Any:
        """As Typer's, which would end without a word where the user interrupts it.

        Raises:
            UsageError: an option has no value: only here is it known of which command.
        """
        try:
            return super().invoke(ctx)
        except UnderstoodNot as error:
            if getattr(error, "ctx", None) is not None or ctx.invoked_subcommand is None:
                raise
            raise UsageError(_sentence(error, f"{_path(ctx)} {ctx.invoked_subcommand}")) from None
        except KeyboardInterrupt as error:
            complain(in_words(error))
            raise typer.Exit(exit_code(error)) from None


def sentence_of(error: Any) -> str:
    """An error of Typer's as one line: what, what instead, and where it is explained."""
    return _sentence(error, _path(error.ctx) if error.ctx is not None else "swapbench")


def _sentence(error: Any, command: str) -> str:
    what = _what(error)
    return f"{what}{_then(what)}`{command} --help` shows how"


def _then(text: str) -> str:
    return " " if text.endswith("?") else "; "


def _what(error: Any) -> str:
    if hasattr(error, "option_name") and hasattr(error, "possibilities"):
        return f"no option {error.option_name}; {_meant_option(error.option_name, _options(error.ctx))}"
    message = " ".join(error.format_message().split()).rstrip(".")
    wrong = re.fullmatch(r"Invalid value for (.+?): (?:Value error, )?(.+)", message)
    if wrong is not None:
        option, why = wrong[1].replace("'", ""), wrong[2]
        choice = re.fullmatch(r"'(.*)' is not one of (.+)", why)
        if choice is not None:
            known = re.findall(r"'([^']+)'", choice[2])
            return f'{option}: "{choice[1]}" is not allowed; {did_you_mean(choice[1], known)}'
        return f"{option}: {why[:1].lower()}{why[1:]}"
    return message[:1].lower() + message[1:]


def _meant_option(given: str, options: list[str]) -> str:
    """Dashes make no two options alike."""
    known = [name.removeprefix("--") for name in options if name.startswith("--")]
    near = nearest(given.lstrip("-"), known)
    return f'did you mean "--{near}"?' if near else f"known: {', '.join(f'--{name}' for name in known)}"


def _options(ctx: Any) -> list[str]:
    return [name for parameter in ctx.command.get_params(ctx) for name in parameter.opts]


def _path(ctx: Any) -> str:
    return str(ctx.command_path)
