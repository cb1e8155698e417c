"""`swapbench compare`, and what `report` and `runs` show of a run of two arms."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from swapbench.base.errors import Exit, SwapbenchError
from swapbench.cli import app
from swapbench.store import Run
from tests.cli.invoking import error_of, swapbench
from tests.findings.recording import Recording
from tests.played import a_run, loads, pairs
from tests.scripted import scripted, toml

SIX = {"rounds": 6, "warmup": 1, "title": "Up and down"}


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def error(done: Result) -> str:
    assert isinstance(done.exception, SwapbenchError)
    assert done.exception.exit_code is Exit.USAGE
    assert "\n" not in str(done.exception)
    return str(done.exception)


def two_arms(out: Path, load_s: float = 3.9) -> Run:
    slow = loads("up", [load_s] * 7)
    return pairs(out, scripted(rounds=6, warmup=1), scripted(slow, rounds=6, warmup=1), ("old", "new"))


def test_two_runs_side_by_side(tmp_path: Path) -> None:
    one, other = (a_run(tmp_path, rounds=6) for _ in range(2))
    done = invoke("compare", one.info.run_id, other.folder, "--results", tmp_path, "--format", "md")
    assert done.exit_code == Exit.OK
    assert done.stdout.startswith(f"## scripted: {one.info.run_id} against {other.info.run_id}\n")


def test_every_other_run_is_compared_with_the_first(tmp_path: Path) -> None:
    runs = [a_run(tmp_path, rounds=6) for _ in range(3)]
    done = invoke("compare", *(run.folder for run in runs), "--format", "json")
    compared = json.loads(done.stdout)["comparisons"]
    assert [c["a"]["run_id"] for c in compared] == [runs[0].info.run_id] * 2
    assert [c["b"]["run_id"] for c in compared] == [run.info.run_id for run in runs[1:]]


def test_a_run_of_two_arms_is_compared_alone(tmp_path: Path) -> None:
    run = two_arms(tmp_path)
    for command in (("compare", run.folder), ("report", run.folder), ("report", "--results", tmp_path)):
        done = invoke(*command)
        assert done.exit_code == Exit.REGRESSION
        assert "up slower (+26 %), down no worse than +5 % (0 %)" in done.stdout
        assert "old against new" in done.stdout


def test_a_wider_margin_lets_it_pass(tmp_path: Path) -> None:
    assert invoke("compare", two_arms(tmp_path).folder, "--margin", "0.5").exit_code == Exit.OK


@pytest.mark.parametrize("margin", ["-2", "11", "much"])
def test_a_margin_that_is_none_is_a_usage_error(tmp_path: Path, margin: str) -> None:
    assert invoke("compare", two_arms(tmp_path).folder, "--margin", margin).exit_code == Exit.USAGE


def test_strictly_what_is_undecided_exits_with_6(tmp_path: Path) -> None:
    few = pairs(tmp_path, scripted(rounds=3), scripted(rounds=3))
    assert invoke("compare", few.folder).exit_code == Exit.OK
    assert invoke("compare", few.folder, "--strict").exit_code == Exit.INCONCLUSIVE


def test_a_swap_that_failed_in_an_arm_exits_with_7(tmp_path: Path) -> None:
    failing = scripted([{"scenario": "up", "round": 1, "fails_in": "load"}], rounds=6)
    assert invoke("compare", pairs(tmp_path, scripted(rounds=6), failing).folder).exit_code == Exit.FAILED


def test_one_arm_is_reported_as_any_other_run(tmp_path: Path) -> None:
    run = two_arms(tmp_path)
    done = invoke("report", run.folder, "--arm", "B", "--format", "json")
    findings = json.loads(done.stdout)
    assert findings["scenarios"][0]["headline"]["point"] == pytest.approx(4.3)
    assert findings["counts"]["counted"] == 12
    assert error(invoke("report", run.folder, "--arm", "C")).startswith('no arm "C" in this run; ')


def test_runs_that_are_unlike_are_refused_and_what_differs_is_named(tmp_path: Path) -> None:
    one, other = a_run(tmp_path, rounds=6), a_run(tmp_path, rounds=6, steady_tokens=1)
    said = error(invoke("compare", one.folder, other.folder))
    assert said == (
        f"{one.info.run_id} and {other.info.run_id} can't be compared: steady_tokens: 16 against 1; "
        "--anyway shows them side by side"
    )


def test_anyway_shows_them_marked_and_judges_nothing(tmp_path: Path) -> None:
    one, other = a_run(tmp_path, rounds=6), a_run(tmp_path, loads("up", [9.0] * 6), rounds=6)
    done = invoke("compare", one.folder, other.folder, "--anyway", "--format", "md")
    assert done.exit_code == Exit.OK
    assert "not comparable: shown side by side, without verdicts" in done.stdout
    assert "slower" not in done.stdout
    assert invoke("compare", one.folder, other.folder, "--anyway", "--strict").exit_code == Exit.INCONCLUSIVE


@pytest.mark.parametrize("form", ["rich", "md", "json"])
def test_runs_without_a_scenario_in_common_are_shown_all_the_same(tmp_path: Path, form: str) -> None:
    one, other = Recording(tmp_path, run_id="run-1"), Recording(tmp_path, run_id="run-2")
    one.swap(0, "up")
    other.swap(0, "down")
    folders = [recording.run().folder for recording in (one, other)]
    assert invoke("compare", *folders, "--anyway", "--format", form).exit_code == Exit.OK


def test_what_has_to_be_said_is_said_in_one_line(tmp_path: Path) -> None:
    one, ab = a_run(tmp_path, rounds=6), two_arms(tmp_path)
    assert error(invoke("compare", one.folder)).startswith(f"{one.folder}: nothing to compare it with; ")
    assert error(invoke("compare", one.folder, ab.folder)) == (
        f"{ab.folder}: has two arms; `swapbench compare {ab.folder}` compares them"
    )
    assert error(invoke("compare", one.folder, one.folder)) == (
        f"{one.folder}: is compared with itself; name another run"
    )
    nowhere = error(invoke("compare", one.folder, "run-9", "--results", tmp_path))
    assert nowhere.startswith(f'no run "run-9" under {tmp_path}; ')
    assert invoke("compare").exit_code == Exit.USAGE


def test_runs_of_two_arms_are_listed_with_both(tmp_path: Path) -> None:
    two_arms(tmp_path)
    done = invoke("runs", "--results", tmp_path)
    assert done.exit_code == Exit.OK
    (row,) = json.loads(invoke("runs", "--results", tmp_path, "--json").stdout)
    assert list(row["headline_s"]) == ["up (A)", "down (A)", "up (B)", "down (B)"]


def ab(folder: Path, *options: str) -> list[str]:
    (folder / "scripted.toml").write_text(toml())
    return ["ab", "scripted.toml", "--pairs", "6", "--quiet", *options]


def test_ab_measures_both_in_one_run_and_compares_them(tmp_path: Path) -> None:
    done = swapbench(tmp_path, *ab(tmp_path, "--b-set", "script.seconds.load=4.0", "--json"))
    assert done.returncode == Exit.REGRESSION, done.stderr
    (compared,) = json.loads(done.stdout)["comparisons"]
    assert compared["paired"] is True
    assert compared["turns"] == "ABBAABBAABBAAB"
    assert (compared["a"]["label"], compared["b"]["label"]) == ("A", "script.seconds.load=4.0")
    assert len(list((tmp_path / "results" / "scripted").iterdir())) == 1


def test_aa_tells_the_noise_floor(tmp_path: Path) -> None:
    done = swapbench(tmp_path, *ab(tmp_path, "--aa", "--order", "random", "--seed", "3"))
    assert done.returncode == Exit.OK, done.stderr
    assert "Noise floor" in done.stdout
    assert "at random, seeded" in done.stdout
    assert done.stderr.startswith("results: results/scripted/")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "nothing to compare; give interpreters by --a and --b"),
        (["--aa", "--a-set", "rounds=3"], "--aa compares a thing with itself: leave out --a, --b, "),
        (["--aa", "--a", "python"], "--aa compares a thing with itself: leave out --a, --b, "),
        (["--b", "/nowhere/python"], "/nowhere/python: No such file or directory; name a Python interpreter"),
        (["--b-set", "script.seconds.load=3.0"], "A and B are the same: check --a, --b, "),
        (["--b-set", "warmup=2"], "warmup is 0 in A and 2 in B: what both arms have in common is set with"),
    ],
)
def test_ab_says_what_is_wrong_before_it_measures(tmp_path: Path, options: list[str], said: str) -> None:
    done = swapbench(tmp_path, *ab(tmp_path, *options))
    assert done.returncode == Exit.USAGE
    assert error_of(done).startswith(said)
    assert not (tmp_path / "results").exists()


def test_five_pairs_are_refused(tmp_path: Path) -> None:
    command = ab(tmp_path, "--aa")
    command[command.index("6")] = "5"
    assert swapbench(tmp_path, *command).returncode == Exit.USAGE
    assert not (tmp_path / "results").exists()


def test_json_means_quiet_for_both_of_a_comparison(tmp_path: Path) -> None:
    (tmp_path / "scripted.toml").write_text(toml())
    line = ("ab", "scripted.toml", "--aa", "--pairs", "6", "--json")
    assert "round 1" not in swapbench(tmp_path, *line).stderr
    assert "round 1" in swapbench(tmp_path, *line, "--verbose").stderr
