"""`swapbench baseline`."""

import json
from pathlib import Path

from typer.testing import CliRunner, Result

from swapbench.base.errors import Exit, SwapbenchError
from swapbench.cli import app
from tests.played import a_run, pairs
from tests.scripted import scripted


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["baseline", *map(str, arguments)])


def error(done: Result) -> str:
    assert isinstance(done.exception, SwapbenchError)
    assert done.exception.exit_code is Exit.USAGE
    return str(done.exception)


def test_the_latest_run_is_saved_when_none_is_named(tmp_path: Path) -> None:
    a_run(tmp_path)
    done = invoke("save", "nightly", "--results", tmp_path)
    assert done.exit_code == Exit.OK
    assert done.stderr == f"{tmp_path}/baselines/nightly: 1 new, 1 in all\n"
    again = invoke("save", "nightly", "--results", tmp_path)
    assert again.stderr == f"{tmp_path}/baselines/nightly: 0 new, 1 in all\n"


def test_several_are_saved_at_once_and_are_no_runs_themselves(tmp_path: Path) -> None:
    names = [a_run(tmp_path).info.run_id for _ in range(3)]
    assert invoke("save", "nightly", *names, "--results", tmp_path).stderr.endswith("3 new, 3 in all\n")
    listed = CliRunner().invoke(app, ["runs", "--json", "--results", str(tmp_path)])
    assert [row["run_id"] for row in json.loads(listed.stdout)] == names


def test_baselines_are_listed(tmp_path: Path) -> None:
    assert invoke("list", "--results", tmp_path).stderr == (
        f"no baseline under {tmp_path}/baselines; `swapbench baseline save NAME` makes one\n"
    )
    assert json.loads(invoke("list", "--json", "--results", tmp_path).stdout) == []
    a_run(tmp_path)
    invoke("save", "nightly", "--results", tmp_path)
    assert "nightly" in invoke("list", "--results", tmp_path).stdout
    (row,) = json.loads(invoke("list", "--json", "--results", tmp_path).stdout)
    assert (row["name"], row["runs"], len(row["fingerprints"])) == ("nightly", 1, 1)


def test_a_baseline_is_shown_by_fingerprint(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    invoke("save", "nightly", "--results", tmp_path)
    shown = invoke("show", "nightly", "--results", tmp_path).stdout
    assert "scripted, fingerprint " in shown
    assert "1: 10 are wanted to judge by" in shown
    document = json.loads(invoke("show", "nightly", "--json", "--results", tmp_path).stdout)
    (kept,) = document["runs"]
    assert kept["run_id"] == run.info.run_id
    assert document["fingerprints"][kept["fingerprint"]]["experiment"] == "scripted"


def test_what_can_not_be_kept_or_found_is_told(tmp_path: Path) -> None:
    assert error(invoke("save", "nightly", "--results", tmp_path)).startswith(f"no run under {tmp_path}")
    run = pairs(tmp_path, scripted(), scripted())
    said = error(invoke("save", "nightly", run.folder, "--results", tmp_path))
    assert said == f"{run.folder}: has two arms; a baseline keeps runs of one thing"
    a_run(tmp_path)
    assert error(invoke("save", "../up", "--results", tmp_path)).startswith('"../up": a baseline is named by')
    invoke("save", "nightly", "--results", tmp_path)
    assert 'did you mean "nightly"?' in error(invoke("show", "nightyl", "--results", tmp_path))
