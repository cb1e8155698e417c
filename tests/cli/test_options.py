"""What is said to a command line that can't be understood, and to a user who interrupts."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from swapbench import __version__
from tests.cli.invoking import error_of, swapbench
from tests.scripted import toml


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("rn", 'no command "rn"; did you mean "run"? `swapbench --help` shows them all'),
        ("rnu", 'no command "rnu"; did you mean "run"? `swapbench --help` shows them all'),
        ("help", 'no command "help"; did you mean `swapbench --help`?'),
        ("help run", 'no command "help"; did you mean `swapbench run --help`?'),
        ("help models synth now", 'no command "help"; did you mean `swapbench models synth --help`?'),
        ("models help", 'no command "help"; did you mean `swapbench models --help`?'),
        ("version", 'no command "version"; did you mean `swapbench --version`?'),
        ("run quick --rounds -3", "--rounds: must be at least 1 (it is -3)"),
        ("run quick --warmup -1", "--warmup: must be at least 0 (it is -1)"),
        ("run quick --models nope", '--models: "nope" is not allowed; known: hub, local, mini, synthetic'),
        ("show quick --models nope", '--models: "nope" is not allowed; known: hub, local, mini, synthetic'),
        ("run quick --page-cache hot", '--page-cache: "hot" is not allowed; known: as-is, cold, warm'),
        ("run quick --strategy slap", '--strategy: no strategy "slap"; did you mean "slab"?'),
        (
            "run quick --strategy stock,auto",
            '--strategy: no strategy "stock,auto"; repeat --strategy for each',
        ),
        ("run quick --target nope", 'no target "nope"; known: '),
        ("run quick --hosts 2", '--hosts: a [sharded] table is for target = "sharded"'),
        ("run quick --hostfile x", '--hostfile: a [sharded] table is for target = "sharded"'),
        ("run quick --set rounds=x", '--set rounds: must be a whole number (it is "x")'),
        (
            "run quick --set verify.prompt_tokens=8,64",
            "--set verify.prompt_tokens: must be a list, written [8, 64]",
        ),
        ("ab quick --b-set rounds=-3", "--b-set rounds: must be at least 1 (it is -3)"),
        ("ab quick --a-set rounds", "--a-set rounds: write key.path=value, as in --a-set rounds=5"),
        ("ab quick --aa --seed -1", "--seed: must be at least 0 (it is -1)"),
        ("ab quick --aa --page-cache hot", '--page-cache: "hot" is not allowed'),
        ("models lst", 'no command "lst"; did you mean "list"? `swapbench models --help` shows them all'),
        ("run --qiet", 'no option --qiet; did you mean "--quiet"? `swapbench run --help` shows how'),
        (
            "models list --source x",
            "no option --source; known: --json, --help; `swapbench models list --help`",
        ),
        ("schema --nope", "no option --nope; known: --help; `swapbench schema --help` shows how"),
        ("run quick --rounds", "option '--rounds' requires an argument; `swapbench run --help` shows how"),
        ("models rm --source", "option '--source' requires an argument; `swapbench models rm --help` shows"),
        ("run .", ".: is a folder, no experiment file; `swapbench list` shows the experiments"),
        ("run /dev/null", "/dev/null: is no experiment file; `swapbench list` shows the experiments"),
        ("run none.toml", "none.toml: no such file; `swapbench list` shows the experiments"),
        ("show", "nothing to show; name an experiment, as in `swapbench show exp012`, or a --target"),
        ("run quick --rounds x", "--rounds: input should be a valid integer"),
        ("report --format jsn", '--format: "jsn" is not allowed; did you mean "json"? `swapbench report'),
        ("report --format htm", '--format: "htm" is not allowed; known: json, md, rich, trace; `swapb'),
        ("compare a b --format mdd", '--format: "mdd" is not allowed; did you mean "md"? `swapbench compare'),
        ("ab quick --order randm", '--order: "randm" is not allowed; did you mean "random"? `swapbench ab'),
        (
            "gate quick --on-inconclusive fial",
            '--on-inconclusive: "fial" is not allowed; did you mean "fail"?',
        ),
    ],
)
def test_it_is_one_line_with_what_to_type_instead(line: str, said: str, tmp_path: Path) -> None:
    done = swapbench(tmp_path, *line.split())
    assert done.returncode == 2
    assert error_of(done).startswith(said)


def test_nothing_at_all_is_answered_by_the_help(tmp_path: Path) -> None:
    done = swapbench(tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Commands:" in done.stderr


@pytest.mark.parametrize("line", ["", "run", "models", "models list", "init target"])
def test_help_has_a_short_form_everywhere(line: str, tmp_path: Path) -> None:
    short, long = (swapbench(tmp_path, *line.split(), option) for option in ("-h", "--help"))
    assert (short.returncode, short.stdout) == (0, long.stdout)
    assert "-h, --help" in short.stdout


def test_so_has_the_version(tmp_path: Path) -> None:
    assert swapbench(tmp_path, "-V").stdout == swapbench(tmp_path, "--version").stdout != ""


def test_the_version_names_what_measures(tmp_path: Path) -> None:
    lines = swapbench(tmp_path, "--version").stdout.splitlines()
    assert lines[0] == f"swapbench {__version__}"
    assert [line.split()[0] for line in lines[1:]] == ["mlx", "mlx-lm", "Python"]


def test_an_interrupt_is_told() -> None:
    # `schema` is interrupted as it begins to print.
    script = (
        "import builtins, sys, signal, os\n"
        "from swapbench import cli\n"
        "print_before = print\n"
        "def print_(*text, file=None, **options):\n"
        "    if file is sys.stderr: return print_before(*text, file=file, **options)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "builtins.print = print_\n"
        "sys.argv = ['swapbench', 'schema']\n"
        "cli.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        env=dict(os.environ),
    )
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "swapbench: interrupted\n"


@pytest.mark.parametrize("line", ["run quick", "ab quick --aa", "gate quick --base HEAD"])
@pytest.mark.parametrize("out", ["/dev/null", "taken", "taken/below"])
def test_runs_are_kept_in_folders_which_is_told_before_anything_is_measured(
    line: str, out: str, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("a file")
    done = swapbench(tmp_path, *line.split(), "--out", out)
    assert done.returncode == 2
    place = out.removesuffix("/below")
    assert error_of(done) == (
        f"{out}: no run can be kept there: {place} is no folder; choose another place by --out"
    )


@pytest.mark.parametrize(
    ("out", "why"), [("results", "Not a directory"), ("long" * 100, "File name too long")]
)
def test_a_folder_that_the_system_does_not_make_is_told(out: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "scripted").write_text("a file")
    (tmp_path / "scripted.toml").write_text(toml())
    done = swapbench(tmp_path, "run", "scripted.toml", "--out", out)
    assert done.returncode == 2
    assert f"no run can be kept there: {why}" in error_of(done)


def test_an_explanation_is_never_longer_than_can_be_read(tmp_path: Path) -> None:
    sets = [word for n in range(20) for word in ("--set", f"models.m{n}={'x' * 200}")]
    said = error_of(swapbench(tmp_path, "run", "quick", *sets, "--rounds", "0" * 300 + "1"))
    assert len(said) < 600
    folder = tmp_path / ("d" * 200)
    for _ in range(8):
        folder /= "e" * 200
    folder.mkdir(parents=True)
    said = error_of(swapbench(tmp_path, "show", folder / "none.toml"))
    assert len(said) < 600
    assert said.endswith("none.toml: no such file; `swapbench list` shows the experiments")
