"""Every command explains itself: with examples that can be typed, and with the codes that it exits with."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from swapbench.base.errors import Exit
from swapbench.cli import app

ROOT = typer.main.get_command(app)


def commands(command: Any = ROOT, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command and command of commands, with what is typed for it."""
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))


ALL = list(commands())
IDS = [" ".join(("swapbench", *path)) for path, _ in ALL]
every_command = pytest.mark.parametrize(("path", "command"), ALL, ids=IDS)


def help_of(path: tuple[str, ...], command: Any) -> str:
    context = command.make_context(" ".join(("swapbench", *path)), [], resilient_parsing=True)
    return str(command.get_help(context))


def examples(path: tuple[str, ...], command: Any) -> list[str]:
    _, _, after = help_of(path, command).partition("  Examples:\n")
    block = re.match(r"(?:    .+\n)+", after)
    return [re.sub(r" {3,}\(.+\)$", "", line.strip()) for line in block[0].splitlines()] if block else []


def refuse_unknown(words: list[str]) -> None:
    """Raises what the command line would at a command or an option that there isn't."""
    command, path = ROOT, list[str]()
    while hasattr(command, "commands"):
        path.append(words.pop(0))
        command = command.commands[path[-1]]
    options = {name: option for option in command.params for name in (*option.opts, *option.secondary_opts)}
    for word in words:
        assert not word.startswith("-") or word in options, word
    command.make_context(" ".join(path), words)


@every_command
def test_there_are_examples_and_the_first_is_of_this_command(path: tuple[str, ...], command: Any) -> None:
    assert examples(path, command)[0].startswith(" ".join(("swapbench", *path)))


@every_command
def test_every_example_is_understood(path: tuple[str, ...], command: Any) -> None:
    for example in examples(path, command):
        for part in example.partition(" > ")[0].split(" && "):
            first, *words = shlex.split(part)
            if first == "swapbench":
                refuse_unknown(words)


@every_command
def test_it_says_what_it_exits_with(path: tuple[str, ...], command: Any) -> None:
    text = " ".join(help_of(path, command).split())
    said = re.search(r"Exit codes: (.+?)\.(?: |$)", text)
    assert said is not None
    codes = [int(code) for code in re.findall(r"(?:^|, )(\d+) ", said[1])]
    assert codes[0] == Exit.OK
    assert set(codes) <= {int(code) for code in Exit}
    assert codes == sorted(codes)


LISTING = ["list", "runs", "targets", "models list", "baseline list", "history", "doctor", "show", "probe"]


@pytest.mark.parametrize("line", LISTING)
def test_what_lists_has_a_form_for_programs(line: str) -> None:
    command = dict(ALL)[tuple(line.split())]
    assert any("--json" in option.opts for option in command.params)


@every_command
def test_it_shows_no_type_of_python(path: tuple[str, ...], command: Any) -> None:
    shown = re.findall(r"<[^<>]+>", help_of(path, command))
    assert [what for what in shown if "|" not in what] == []


@every_command
def test_what_takes_several_says_so_once(path: tuple[str, ...], command: Any) -> None:
    usage = help_of(path, command).partition("\n\n")[0]
    assert usage.count("...") == sum(p.nargs == -1 for p in command.params) + hasattr(command, "commands")
    assert "[[" not in usage


@pytest.mark.parametrize("columns", [80])
@every_command
def test_a_list_of_commands_cuts_no_sentence(columns: int, path: tuple[str, ...], command: Any) -> None:
    named = max((len(name) for name in getattr(command, "commands", {})), default=0)
    for inner in getattr(command, "commands", {}).values():
        whole = " ".join((inner.help or "").partition("\n\n")[0].split()).removesuffix(".")
        assert inner.get_short_help_str(columns - 6 - named).removesuffix(".") == whole


SHARED = {"--results", "--out", "--models", "--page-cache", "--margin", "--quiet", "--verbose", "--fail-fast"}


@pytest.mark.parametrize("name", sorted(SHARED))
def test_an_option_of_several_commands_is_said_once(name: str) -> None:
    said = {
        (option.help, option.metavar)
        for path, command in ALL
        for option in command.params
        if name in option.opts and path not in (("history",), ("show",), ("models", "repack"))
    }
    assert len(said) == 1
