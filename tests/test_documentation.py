"""Every command in the documentation works, what is made of the code is as the code, and the site builds."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

import pytest
import typer
from typer.testing import CliRunner

from docgen.pages import pages, renewed
from swapbench.base.errors import Exit
from swapbench.cli import app
from swapbench.cli.options import overrides_of
from swapbench.run.targets import BUILT_IN, server_of
from swapbench.spec import experiment
from swapbench.spec.overrides import sets
from swapbench.spec.preset import read_preset
from swapbench.wire.measures import RunTable
from swapbench.wire.swap import TABLES
from tests.documented import ROOT, Command, blocks, commands, mentions
from tests.played import a_run, pairs
from tests.scripted import scripted

# Commands of swapbench that are parsed and checked here, and run elsewhere; all others are run.
RUN_ELSEWHERE: Final = {
    "run": "workers and models: tests/e2e/test_run.py",
    "ab": "workers and models: tests/e2e/test_gate.py",
    "gate": "workers, models, and a merge base to be built: tests/e2e/test_gate.py",
    "doctor": "looks for seconds at what is busy: tests/cli/test_machine.py",
    "probe": "writes gigabytes: tests/cli/test_machine.py",
    "selfcheck": "writes gigabytes: tests/cli/test_machine.py",
    "models fetch": "downloads: tests/models/test_hub.py",
    "models synth": "writes gigabytes: tests/cli/test_models.py",
    "models repack": "wants a checkpoint that is there: tests/cli/test_models.py",
    "models rm": "wants a checkpoint that is there: tests/cli/test_models.py",
}
# Other programs, and what is checked of each.
OTHERS: Final = {
    "make": "its target is in the Makefile: tests/test_project.py has make read it",
    "pip": "installs, from the network: what it installs is ./my-server, which `init target` writes",
    "python": "benchmarks take minutes: the file is there, and knows the options",
    ".": "activates what `make` has set up",
}
# A target that only a package of the reader's own brings.
OF_THE_READER: Final = "my-server"
RUN_IDS: Final = ("20260125T101500Z-hub", "20260126T101500Z-hub", "20260127T101500Z-hub")
COMPARISON: Final = "20260128T101500Z-mini"
COMMANDS: Final = commands()


def program(command: Command) -> str:
    return command.words[0]


def of_swapbench(command: Command) -> tuple[str, Any, list[str]]:
    """The command's name, as `models fetch`, what typer makes of it, and its arguments."""
    node: Any = typer.main.get_command(app)
    words = list(command.words[1:])
    name = []
    while getattr(node, "commands", None) and words and not words[0].startswith("-"):
        assert words[0] in node.commands, f"{command.page}: there is no `{command}`"
        name.append(words.pop(0))
        node = node.commands[name[-1]]
    return " ".join(name), node, words


OURS: Final = [command for command in COMMANDS if program(command) == "swapbench"]
CHECKED: Final = [command for command in OURS if of_swapbench(command)[0] in RUN_ELSEWHERE]
RUN: Final = [command for command in OURS if command not in CHECKED]


def of_the_reader(arguments: Iterable[str]) -> list[str]:
    """With the reader's own runs and folders where pages have some made-up ones."""
    ids = cycle(RUN_IDS)
    return [_of_the_reader(word, ids) for word in arguments]


def _of_the_reader(word: str, ids: Iterator[str]) -> str:
    if re.fullmatch(r"\d{8}T\d{6}Z-mini", word):
        return COMPARISON
    if re.fullmatch(r"RUN(-\w)?|\d{8}T\d{6}Z-\w+|results/exp012/[A-C]", word):
        return next(ids)
    if word.endswith("/bin/python"):
        return sys.executable
    return "results" if word.endswith("other-mac/results") else word


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a reader has who went through the pages: runs, and the files that they show."""
    folder = tmp_path_factory.mktemp("reader")
    results = folder / "results"
    a_run(results, name="exp013-strategies", strategy=["stock", "slab"])
    pairs(results, scripted(rounds=6), scripted(rounds=6)).folder.rename(folder / COMPARISON)
    made = a_run(results, name="exp012", rounds=3).folder
    for run_id in (*RUN_IDS, COMPARISON):
        there = made.with_name(run_id)
        shutil.copytree(folder / run_id if run_id == COMPARISON else made, there)
        info = json.loads((there / "run.json").read_text())
        (there / "run.json").write_text(json.dumps(info | {"run_id": run_id, "experiment_name": "exp012"}))
    saved = CliRunner().invoke(app, ["baseline", "save", "nightly", RUN_IDS[0], "--results", str(results)])
    assert saved.exit_code == Exit.OK
    (results / "reference").symlink_to(ROOT / "results" / "reference")
    shutil.copy(ROOT / "experiments" / "quick.toml", folder / "mine.toml")
    guide = blocks(ROOT / "docs" / "guides" / "measure-my-server.md", "toml")
    (folder / "my-models.toml").write_text(guide[0])
    preset = next(text for text in blocks(ROOT / "docs" / "targets.md", "toml") if "[ask]" in text)
    (folder / "my-server.toml").write_text(preset)
    return folder


@pytest.fixture
def reader(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The reader's folder, as the one that commands are given in."""
    monkeypatch.setenv("SWAPBENCH_CACHE", str(folder / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(folder / "hub"))
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("command", RUN, ids=str)
def test_a_command_of_the_documentation_runs(
    command: Command, reader: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if of_swapbench(command)[0].startswith("init "):
        monkeypatch.chdir(tmp_path)  # what is to be written is not there yet
    result = CliRunner().invoke(app, of_the_reader(command.words[1:]))
    assert result.exit_code not in (Exit.CRASH, Exit.USAGE), f"{result.exception!r}\n{result.output}"


@pytest.mark.parametrize("command", CHECKED, ids=str)
def test_a_command_that_takes_long_would_be_understood(command: Command, reader: Path) -> None:
    name, node, arguments = of_swapbench(command)
    given = node.make_context(name, of_the_reader(arguments)).params
    for target in given.get("target") or ():
        assert target in (*BUILT_IN, OF_THE_READER) or server_of(target) is not None
    if name in ("run", "ab", "gate") and given["experiment"] is not None:
        check_experiment(given)


def check_experiment(given: dict[str, Any]) -> None:
    """It is there, and takes every setting, by either side's options and by both."""
    short = {
        f"--{name.replace('_', '-')}": given.get(name)
        for name in ("models", "rounds", "warmup", "page_cache")
    }
    shared = overrides_of(list(given["set_"] or ()), short)
    sides: Sequence[Sequence[str]] = [given.get(side) or () for side in ("a_set", "b_set")]
    for side in sides:
        of = experiment.load(experiment.find(given["experiment"]), [*shared, *sets(side)])
        experiment.with_strategies(of, given.get("strategy") or ())


def test_every_reason_not_to_run_a_command_is_needed() -> None:
    assert {of_swapbench(command)[0] for command in CHECKED} == set(RUN_ELSEWHERE)
    for reason in RUN_ELSEWHERE.values():
        assert (ROOT / reason.rpartition(" ")[2]).exists()


def test_other_programs_are_given_what_they_know() -> None:
    others = [command.words for command in COMMANDS if command not in OURS]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for words in others:
        if words[0] == "nice":
            words = words[words.index("python") :]
        assert words[0] in OTHERS, words
        if words[0] == "make":
            assert f"\n{words[1]}:" in makefile
        if words[0] == "pip":
            light = ("pip", "install", "--no-deps", "swapbench")
            assert words in (("pip", "install", "-e", f"./{OF_THE_READER}"), light)
        if words[0] == "python":
            script = (ROOT / words[1]).read_text(encoding="utf-8")
            assert [word for word in words if word.startswith("--") and f'"{word}"' not in script] == []


def test_commands_within_sentences_are_there_with_their_options() -> None:
    for command in mentions():
        name, node, words = of_swapbench(command)
        known = {option for parameter in node.params for option in parameter.opts} | {"--help"}
        given = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert given <= known, f"{command.page}: `swapbench {name}` knows no {given - known}"


def test_the_servers_and_experiments_that_pages_show_are_right(reader: Path) -> None:
    assert read_preset(reader / "my-server.toml").title
    assert experiment.load(reader / "my-models.toml").model_names() == ("chat", "code")


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_what_is_made_of_the_code_is_as_the_code(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert renewed(text) == text, "`make docs` makes it anew"


def test_every_value_that_an_option_is_kept_to_is_in_the_reference() -> None:
    chapters = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8").split("\n## ")
    told = []
    for command in app.registered_commands:
        assert command.callback is not None
        name = command.name or command.callback.__name__
        (chapter,) = (chapter for chapter in chapters if chapter.startswith(f"`swapbench {name}`"))
        for values in kept_to(command.callback):
            assert any(all(value in row for value in values) for row in chapter.splitlines()), (name, values)
            told.append(values)
    assert ("cpu", "gpu") in told


def kept_to(function: Callable[..., Any]) -> list[tuple[str, ...]]:
    """The values of each parameter that takes no others."""
    hints = get_type_hints(function).values()
    return [get_args(part) for of in hints for part in (of, *get_args(of)) if get_origin(part) is Literal]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.file)
def test_every_column_has_one_meaning(table: RunTable) -> None:
    assert len(set(table.names)) == len(table.names)
    assert all(column.measure.meaning and column.measure.empty for column in table.columns)


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert (tmp_path / "guides" / "read-a-report.html").exists()
    assert (tmp_path / "repository" / "experiments" / "exp012.toml").exists()
