"""`swapbench gate`: changes of a real repository's code, measured against its base, and their exit codes."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree as Xml

import psutil
import pytest
from typer.testing import CliRunner

from swapbench.base.errors import Exit
from swapbench.cli import app
from swapbench.cli.gate import append_summary, sides_of
from swapbench.compare.history import keep as kept
from swapbench.run import runner
from swapbench.store import list_runs, read
from tests.cli.invoking import error_of, swapbench
from tests.played import played
from tests.repository import BUILD, commit, environment, git, with_swapbench
from tests.scripted import toml

TARGET = Path("swapbench") / "worker" / "targets" / "scripted.py"
SLOWER = ("seconds.get(phase, 0.0)", "1.3 * seconds.get(phase, 0.0)")
LEAKING = ("self.meter.leak(self._script.leak_bytes)", "self.meter.leak(50_000_000)")
DYING = (
    "        self._tell(resident_before=self._script.resident)\n",
    "        self._tell(resident_before=self._script.resident)\n"
    '        if planned.round == 2 and to.name == "large":\n'
    '            self._playing = ScriptedSwap(scenario=planned.scenario, fails_in="load", failure="kill")\n',
)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """swapbench itself on main, and an interpreter that has it installed."""
    folder = with_swapbench(tmp_path_factory.mktemp("gated") / "repo")
    commit(folder, "scripted.toml", toml())
    git(folder, "checkout", "--quiet", "-b", "topic")
    commit(folder, "notes.txt", "a change of no consequence")
    return folder, environment(folder)


@pytest.fixture
def repo(repository: tuple[Path, Path]) -> Iterator[Path]:
    """The repository, clean before and after."""
    yield repository[0]
    git(repository[0], "checkout", "--quiet", "--", ".")


def change(repo: Path, edit: tuple[str, str]) -> None:
    text = (repo / TARGET).read_text(encoding="utf-8")
    assert text.count(edit[0]) == 1
    (repo / TARGET).write_text(text.replace(*edit), encoding="utf-8")


def asked(out: Path, *options: str | Path, soak: int = 0) -> list[str]:
    """Against main, with six pairs."""
    given = ("--base", "main", "--python", ".venv/bin/python", "--build", BUILD, "--pairs", "6", "--quiet")
    soaks = ("--set", f"gate.soak_swaps={soak}")
    return [*map(str, ("gate", "scripted.toml", *given, "--out", out, *soaks, *options))]


def gate(
    repo: Path, out: Path, *options: str | Path, soak: int = 0, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Called as from an installed swapbench."""
    return swapbench(repo, *asked(out, *options, soak=soak), **environment)


@pytest.mark.slow
def test_a_change_of_no_consequence_passes(repo: Path, tmp_path: Path) -> None:
    done = gate(repo, tmp_path, soak=20)
    assert done.returncode == Exit.OK, done.stderr + done.stdout
    assert "nothing is slower beyond the margin, and nothing leaks" in done.stdout
    assert done.stderr.splitlines()[0].startswith("checking out the merge base ")


def test_while_it_measures_its_sides_are_called_base_and_change() -> None:
    def job(*names: str) -> Any:
        return SimpleNamespace(arms=[SimpleNamespace(name=name) for name in names])

    assert sides_of(job("A", "B")) == {"A": "base", "B": "change"}
    assert sides_of(job("")) == {}


def test_a_slower_change_is_a_regression_and_a_ci_system_sees_it(repo: Path, tmp_path: Path) -> None:
    change(repo, SLOWER)
    summary = tmp_path / "summary.md"
    summary.write_text("what other steps said\n")
    done = gate(
        repo,
        tmp_path / "results",
        "--reports",
        tmp_path / "reports",
        GITHUB_ACTIONS="true",
        GITHUB_STEP_SUMMARY=str(summary),
    )
    assert done.returncode == Exit.REGRESSION, done.stderr + done.stdout
    assert "slower beyond the margin: up, down" in done.stdout
    assert done.stdout.count("\n::error title=swapbench regression%3A ") == 2
    written = (tmp_path / "reports" / "gate.md").read_text()
    assert summary.read_text() == f"what other steps said\n{written}"
    assert "measured again" in written
    judged = json.loads((tmp_path / "reports" / "gate.json").read_text())
    assert judged["outcome"] == "regression"
    assert judged["change"].endswith(", with uncommitted changes")
    assert judged["against"] == f"base {git(repo, 'rev-parse', 'main')[:8]}"
    (suite,) = Xml.parse(tmp_path / "reports" / "gate.xml").getroot()
    assert suite.attrib["failures"] == "2"
    # Two runs of pairs, each with both arms' rows, and a base that is gone.
    assert len(list_runs(tmp_path / "results")) == 2
    assert len(git(repo, "worktree", "list").splitlines()) == 1


def test_a_summary_that_can_not_be_written_is_told_and_takes_nothing_away(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    append_summary("all of it", tmp_path / "nowhere" / "summary.md")
    assert capsys.readouterr().err == (
        f"swapbench: {tmp_path}/nowhere/summary.md: No such file or directory; "
        "GITHUB_STEP_SUMMARY has no room for this gate's summary\n"
    )


def test_a_leaking_change_exits_with_5(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the soak shows it: its pairs are played."""
    change(repo, LEAKING)
    carried_out = runner.carry_out

    def carry_out(job: runner.Job, observer: runner.Observer) -> None:
        if len(job.arms) > 1:
            played(job)
        else:
            carried_out(job, observer)

    monkeypatch.setattr(runner, "carry_out", carry_out)
    monkeypatch.chdir(repo)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    done = CliRunner().invoke(app, asked(tmp_path, "--json", soak=20))
    assert done.exit_code == Exit.LEAK, done.stderr + done.stdout
    judged = json.loads(done.stdout)
    leaks = {ledger["ledger"]: ledger for ledger in judged["ledgers"]}
    assert leaks["mlx_active"]["outcome"] == "leak"
    assert leaks["mlx_active"]["base"]["outcome"] == "clean"


@pytest.mark.slow
def test_a_change_that_kills_its_process_exits_with_7_and_names_its_side(repo: Path, tmp_path: Path) -> None:
    change(repo, DYING)
    done = gate(repo, tmp_path)
    assert done.returncode == Exit.FAILED, done.stderr + done.stdout
    assert "1 failure while measuring" in done.stdout
    ((folder, _),) = list_runs(tmp_path)
    assert (folder / "gate.md").exists()
    (failure,) = json.loads((folder / "gate.json").read_text())["failures"]
    assert failure["side"].startswith("working tree at ")
    assert "SIGKILL" in failure["reason"]


def test_what_no_base_can_be_made_of_is_told_in_a_line(repo: Path, tmp_path: Path) -> None:
    missing = gate(repo, tmp_path, "--base", "mian")
    assert (missing.returncode, error_of(missing)) == (
        Exit.USAGE,
        "--base mian: no such commit; `git branch --all` shows branches, `git fetch` gets them",
    )
    failing = gate(repo, tmp_path, "--build", "echo no compiler here >&2; exit 1")
    assert failing.returncode == Exit.INCONCLUSIVE
    assert failing.stderr.splitlines()[-1].endswith(": no compiler here")
    shared = gate(repo, tmp_path, PYTHONPATH=str(repo))
    assert shared.returncode == Exit.USAGE
    assert "the base would run the working tree's code" in error_of(shared)
    assert not list_runs(tmp_path)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "give either --base REF (a commit or branch) or --baseline NAME"),
        (["--base", "main", "--baseline", "nightly"], "give either --base REF"),
        (["--baseline", "nightly", "--pairs", "6"], "--pairs and --build go with --base"),
        (["--base", "main"], "not in a git repository with a commit; --base needs one"),
    ],
)
def test_what_is_asked_for_wrongly_is_told_in_a_line(tmp_path: Path, options: list[str], said: str) -> None:
    (tmp_path / "scripted.toml").write_text(toml())
    done = swapbench(tmp_path, "gate", "scripted.toml", *options)
    assert done.returncode == Exit.USAGE
    assert said in error_of(done)
    assert not (tmp_path / "results").exists()


def test_a_gate_that_is_ended_from_outside_leaves_nothing_of_the_base(repo: Path, tmp_path: Path) -> None:
    builder = f"{sys.executable} -c 'import signal; signal.pause()'"
    waiting = f"{builder} & echo $! > {tmp_path}/pid; mv {tmp_path}/pid {tmp_path}/building; wait"
    command = ["gate", "scripted.toml", "--base", "main", "--python", sys.executable, "--build", waiting]
    child = subprocess.Popen(
        [sys.executable, "-m", "swapbench", *command],
        cwd=repo,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline_s = time.monotonic() + 30
    while not (tmp_path / "building").exists() and time.monotonic() < deadline_s:
        time.sleep(0.02)
    child.send_signal(signal.SIGTERM)
    _, said = child.communicate(timeout=30)
    assert child.returncode == Exit.TERMINATED
    assert "Traceback" not in said
    assert len(git(repo, "worktree", "list").splitlines()) == 1
    pid = int((tmp_path / "building").read_text())
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def by_history(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "scripted.toml").write_text(toml())
    return swapbench(
        folder,
        *("gate", "scripted.toml", "--baseline", "nightly", "--quiet", "--set", "gate.soak_swaps=0"),
        *options,
    )


def keep(folder: Path, runs: int, faster: float = 1.0) -> None:
    """A baseline of that many runs, each that many times as fast as one that was measured here."""
    (folder / "scripted.toml").write_text(toml())
    assert swapbench(folder, "run", "scripted.toml", "--quiet").returncode == Exit.OK
    run = list_runs(folder / "results")[-1][0]
    with (run / "swaps.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with (run / "swaps.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        table.writeheader()
        times = ("total_s", "to_first_token_s")
        table.writerows(row | {name: float(row[name]) / faster for name in times} for row in rows)
    info = read(run).info.model_copy(update={"sizes": None})
    for n in range(runs):
        again = info.model_copy(update={"run_id": f"day-{n}", "started_at": info.started_at + timedelta(n)})
        (run / "run.json").write_text(again.model_dump_json())
        kept(folder / "results", "nightly", [read(run)])
    (run / "run.json").write_text(info.model_dump_json())


def test_a_baseline_that_is_missing_exits_with_6_before_anything_is_measured(tmp_path: Path) -> None:
    done = by_history(tmp_path)
    assert done.returncode == Exit.INCONCLUSIVE
    assert error_of(done) == (
        'no baseline "nightly" under results/baselines; none is known; '
        "`swapbench baseline save nightly` makes one"
    )
    assert not (tmp_path / "results").exists()


def test_a_short_history_settles_nothing_and_fails_only_where_it_is_asked_to(tmp_path: Path) -> None:
    keep(tmp_path, 9)
    done = by_history(tmp_path)
    assert done.returncode == Exit.OK, done.stderr
    assert "could not be settled: up, down" in done.stdout
    assert by_history(tmp_path, "--on-inconclusive", "fail").returncode == Exit.INCONCLUSIVE


def test_a_run_like_its_history_passes_and_one_that_is_slower_does_not(tmp_path: Path) -> None:
    keep(tmp_path, 10)
    done = by_history(tmp_path)
    assert done.returncode == Exit.OK, done.stderr
    assert 'baseline "nightly": 10 runs alike, of 10' in done.stdout
    shutil.rmtree(tmp_path / "results" / "baselines")
    keep(tmp_path, 10, faster=1.3)
    slower = by_history(tmp_path)
    assert slower.returncode == Exit.REGRESSION, slower.stdout
    assert "slower: up, down; measuring once more before that counts" in slower.stderr
