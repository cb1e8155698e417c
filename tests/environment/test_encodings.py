"""Terminals and pipes that have not every sign, and names that are no text: nothing fails on an encoding."""

import json
import os
import sys
from pathlib import Path

import pytest

from swapbench.store import list_runs, read
from tests.cli.invoking import error_of, swapbench
from tests.environment.measured import LINES
from tests.forking import run_forked

# What makes Python write in each of them.
ENCODINGS = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "ANSI_X3.4-1968": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}
in_each = pytest.mark.parametrize("encoding", ENCODINGS)
REPORTS = [f"report slow --format {form}" for form in ("md", "json", "trace", "rich")]


def printed(folder: Path, encoding: str, *words: str) -> tuple[int, str, str]:
    """Exit code and both streams, which have to be in that encoding."""
    done = run_forked([*words], folder, os.environ | ENCODINGS[encoding])
    out, err = done.stdout.decode(encoding), done.stderr.decode(encoding)
    assert "Traceback" not in err
    return done.returncode, out, err


@in_each
def test_a_whole_run_ends_with_its_report_and_gaps_are_filled_by_something_to_read(
    folder: Path, encoding: str
) -> None:
    code, out, err = printed(folder, encoding, "run", "scripted.toml", "--rounds", "2", "--verbose")
    assert code == 0
    assert "request -> first token" in out
    assert "up: small -> large, strategy stock" in err
    assert "\\u" not in out + err
    assert "?" not in out
    assert read(list_runs(folder / "results")[-1][0]).info.status == "complete"


@pytest.mark.parametrize(
    ("encoding", "line"),
    [
        *(("ascii", line) for line in (*LINES, *REPORTS[:-1], "--version")),
        ("ascii", "doctor"),
        *((encoding, REPORTS[-1]) for encoding in ENCODINGS),
    ],
)
def test_whatever_prints_ends_as_it_would_elsewhere(folder: Path, encoding: str, line: str) -> None:
    code, out, _ = printed(folder, encoding, *line.split())
    assert code == (4 if line in REPORTS else 0)
    assert out


@in_each
def test_json_stays_json_and_says_the_same(folder: Path, encoding: str) -> None:
    title = "na\N{LATIN SMALL LETTER I WITH DIAERESIS}ve \N{CJK UNIFIED IDEOGRAPH-4E2D} \N{GRINNING FACE}"
    (folder / "titled.toml").write_text(
        f'title = "{title}"\n{(folder / "scripted.toml").read_text()}', "utf-8"
    )
    _, out, _ = printed(folder, encoding, "show", "titled.toml", "--json")
    assert json.loads(out)["experiment"]["title"] == title


def test_what_utf_8_has_is_left_as_it_is(folder: Path) -> None:
    assert "\N{RIGHTWARDS ARROW} first token" in swapbench(folder, "report", "slow").stdout


NO_TEXT = "caf\udce9"


@pytest.mark.parametrize(
    "line", [f"run {NO_TEXT}.toml", f"report {NO_TEXT}", f"report slow --html {NO_TEXT}.html", f"{NO_TEXT}"]
)
def test_a_name_that_is_no_text_is_told_in_one_line(folder: Path, line: str) -> None:
    done = swapbench(folder, *line.split())
    assert done.returncode == 2
    assert "caf\\udce9" in error_of(done)
    assert "is no text in this locale; choose another name, or a locale of UTF-8" in error_of(done)


@pytest.fixture
def no_text(tmp_path: Path) -> Path:
    """A folder whose name is no text."""
    place = tmp_path / NO_TEXT
    try:
        place.mkdir()
    except OSError as error:
        pytest.skip(f"this file system has no such names: {error.strerror}")
    return place


def test_a_run_in_a_folder_whose_name_is_no_text_is_refused_before_it_begins(
    no_text: Path, folder: Path
) -> None:
    (no_text / "scripted.toml").write_text((folder / "scripted.toml").read_text())
    done = swapbench(no_text, "run", "scripted.toml")
    assert done.returncode == 2
    assert "is no text in this locale" in error_of(done)
    assert not (no_text / "results").exists()


@pytest.mark.parametrize("line", ["runs", "runs --json", "report", "report --format json", "history slow"])
def test_what_lies_in_such_a_folder_can_be_read(no_text: Path, folder: Path, line: str) -> None:
    place = no_text / "results" / "slow"
    place.mkdir(parents=True)
    run_folder, _ = next(
        entry for entry in list_runs(folder / "results") if entry[1].experiment_name == "slow"
    )
    (place / NO_TEXT).symlink_to(run_folder)
    done = swapbench(no_text.parent, *line.split(), "--results", no_text.name)
    assert done.returncode == 2
    done = swapbench(no_text, *line.split())
    assert done.returncode in (0, 4)
    assert done.stdout


def test_a_cache_whose_name_is_no_text_is_told_in_one_line(no_text: Path, tmp_path: Path) -> None:
    done = swapbench(tmp_path, "run", "quick", "--rounds", "1", SWAPBENCH_CACHE=str(no_text))
    assert done.returncode == 2
    assert "is no text in this locale" in error_of(done)


def test_a_name_that_the_locale_has_not_is_told_in_one_line(folder: Path) -> None:
    path = folder / "caf\N{LATIN SMALL LETTER E WITH ACUTE}.toml"
    path.write_text((folder / "scripted.toml").read_text())
    code, out, err = printed(folder, "ANSI_X3.4-1968", "run", path.name)
    assert (code, out) == (2, "")
    assert "is no text in this locale; choose another name, or a locale of UTF-8, as LC_ALL=C.UTF-8" in err


def test_a_log_may_hold_any_bytes(folder: Path, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_bytes(
        b'#!/bin/sh\ncase "$*" in *WIRE*) exec ' + sys.executable.encode() + b' "$@";; esac\n'
        b"printf 'dying: caf\\351 \\377\\n' >&2; exit 3\n"
    )
    python.chmod(0o755)
    code, out, _ = printed(folder, "ascii", "run", "scripted.toml", "--python", str(python))
    assert code == 7
    assert "in starting: dying: caf" in " ".join(out.split())
