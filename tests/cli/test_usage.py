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
        ("models lst", 'no command "lst"; did you mean "list"? `swapbench models --help` shows them all'),
        ("run --qiet", 'no option --qiet; did you mean "--quiet"? `swapbench run --help` shows how'),
        (
            "models list --source x",
            "no option --source; known: --json, --help; `swapbench models list --help`",
        ),
        ("schema --nope", "no option --nope; known: --help; `swapbench schema --help` shows how"),
        ("run quick --rounds", "option '--rounds' requires an argument; `swapbench run --help` shows how"),
        ("models rm --source", "option '--source' requires an argument; `swapbench models rm --help` shows"),
        ("run .", ".: is a folder, no experiment file; `swapbench list` shows the experiments there are"),
        ("run /dev/null", "/dev/null: is no experiment file; `swapbench list` shows the experiments"),
        ("run none.toml", "none.toml: no such file; `swapbench list` shows the experiments there are"),
        ("show", "missing argument 'EXPERIMENT'; `swapbench show --help` shows how"),
        ("run quick --rounds x", "--rounds: input should be a valid integer"),
        ("report --format jsn", '--format: "jsn" is not allowed; did you mean "json"? `swapbench report'),
        ("report --format htm", '--format: "htm" is not allowed; known: csv, json, md, rich, trace; `swapb'),
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


def test_the_version_names_what_measures(tmp_path: Path) -> None:
    lines = swapbench(tmp_path, "--version").stdout.splitlines()
    assert lines[0] == f"swapbench {__version__}"
    assert [line.split()[0] for line in lines[1:]] == ["mlx", "mlx-lm", "Python"]


def test_an_interrupt_is_told() -> None:
    # `schema` is interrupted as it begins to print.
    script = (
        "import sys, typer, signal, os\n"
        "from swapbench import cli\n"
        "typer.echo_before = typer.echo\n"
        "def echo(text, err=False, **_):\n"
        "    if err: return typer.echo_before(text, err=True)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "typer.echo = echo\n"
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
