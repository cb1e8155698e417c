"""What a gate measures, in which order, and what it leaves out."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from swapbench.base.errors import IncomparableError, UsageError
from swapbench.compare.gate import Gate, GateOutcome
from swapbench.compare.history import History
from swapbench.run.gate import Asking, gate_on_base, gate_on_history
from swapbench.run.runner import Job, carry_out
from swapbench.spec.experiment import Experiment
from swapbench.spec.overrides import sets
from swapbench.store import Run, read
from tests.played import past, played
from tests.repository import BUILD, commit, git, repository
from tests.run.test_runner import _Seen
from tests.scripted import toml

SHORT = ("gate.pairs=6", "gate.soak_swaps=0")


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Main, and a branch with a commit of its own, which is checked out and is the working directory."""
    folder = repository(tmp_path / "repo")
    commit(folder, "scripted.toml", toml())
    git(folder, "checkout", "--quiet", "-b", "topic")
    commit(folder, "change.txt", "")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    return folder


class Measuring:
    """Plays what is to be measured; the change takes `factors` times as long, one run after another."""

    def __init__(self, *factors: float, leaks: Sequence[str] = (), fails: bool = False) -> None:
        self.jobs: list[Job] = []
        self.said: list[str] = []
        self._factors = [*factors]
        self._leaks = leaks
        self._fails = fails

    def carry(self, job: Job) -> Run:
        self.jobs.append(job)
        paired = len(job.arms) == 2
        factor = self._factors.pop(0) if paired and self._factors else 1.0
        leaking = not paired and self.kinds()[-1] in self._leaks
        change = _altered(job.arms[-1].experiment, factor, leaking, self._fails)
        return played(replace(job, arms=(*job.arms[:-1], replace(job.arms[-1], experiment=change))))

    def kinds(self) -> list[str]:
        """What was measured: pairs; or a soak, by its interpreter."""
        return [
            "pairs" if len(job.arms) == 2 else "base" if "swapbench-base-" in job.arms[0].python else "change"
            for job in self.jobs
        ]


def _altered(experiment: Experiment, factor: float, leaking: bool, fails: bool) -> Experiment:
    raw = experiment.model_dump(mode="json", by_alias=True)
    raw["script"]["seconds"]["load"] *= factor
    raw["script"]["leak_bytes"] = 50_000_000 if leaking else 0
    if fails:
        raw["script"]["swap"] = [{"scenario": "up", "round": 2, "fails_in": "load"}]
    return Experiment.model_validate(raw)


def asking(
    measuring: Measuring,
    *settings: str,
    out: Path = Path("results"),
    carry: Callable[[Job], Run] | None = None,
) -> Asking:
    return Asking(
        file=Path("scripted.toml"),
        settings=sets(settings),
        pairs=None,
        margin=None,
        python=sys.executable,
        out=out,
        command=["swapbench", "gate"],
        carry=carry or measuring.carry,
        say=measuring.said.append,
    )


def on_main(measuring: Measuring, *settings: str) -> Gate:
    return gate_on_base(asking(measuring, *settings), "main", BUILD, trusted=True)


def test_pairs_come_first_and_then_the_soak_of_the_change(repo: Path) -> None:
    measuring = Measuring()
    gate = on_main(measuring, "gate.pairs=6", "gate.soak_swaps=20")
    assert gate.outcome is GateOutcome.PASS
    assert measuring.kinds() == ["pairs", "change"]
    pairs, soak = (job.experiment for job in measuring.jobs)
    assert (pairs.rounds, pairs.warmup) == (6, 1)
    # Two scenarios a round, and the first three swaps of a process do not count.
    assert (soak.rounds, soak.warmup) == (12, 0)
    assert [Path(run).name for run in gate.runs] == [job.writer.folder.name for job in measuring.jobs]


def test_the_sides_are_named_by_what_they_are(repo: Path) -> None:
    (repo / "scripted.toml").write_text(toml() + "\n")
    gate = on_main(Measuring(), *SHORT)
    assert gate.against == f"base {git(repo, 'rev-parse', 'main')[:8]}"
    assert gate.change == f"working tree at {git(repo, 'rev-parse', 'topic')[:8]}, with uncommitted changes"


def test_what_looks_slower_is_measured_once_more_with_the_same_arms(repo: Path) -> None:
    measuring = Measuring(1.3, 1.3)
    gate = on_main(measuring, *SHORT)
    assert gate.outcome is GateOutcome.REGRESSION
    assert measuring.kinds() == ["pairs", "pairs"]
    first, second = measuring.jobs
    assert [arm.python for arm in first.arms] == [arm.python for arm in second.arms]
    assert "slower: up, down; measuring once more before that counts" in measuring.said


def test_what_was_chance_is_not_confirmed(repo: Path) -> None:
    measuring = Measuring(1.3, 1.0)
    assert on_main(measuring, *SHORT).outcome is GateOutcome.NOT_CONFIRMED


def test_where_confirming_is_switched_off_once_counts(repo: Path) -> None:
    measuring = Measuring(1.3)
    assert on_main(measuring, *SHORT, "gate.confirm=false").outcome is GateOutcome.REGRESSION
    assert measuring.kinds() == ["pairs"]


def test_what_failed_is_not_measured_again(repo: Path) -> None:
    measuring = Measuring(1.3, fails=True)
    assert on_main(measuring, *SHORT).outcome is GateOutcome.FAILED
    assert measuring.kinds() == ["pairs"]


def test_the_base_soaks_only_where_the_change_seems_to_leak(repo: Path) -> None:
    measuring = Measuring(leaks=["change"])
    gate = on_main(measuring, "gate.pairs=6")
    assert measuring.kinds() == ["pairs", "change", "base"]
    assert gate.outcome is GateOutcome.LEAK
    both = Measuring(leaks=["change", "base"])
    assert on_main(both, "gate.pairs=6").outcome is GateOutcome.INCONCLUSIVE


def test_a_tree_without_a_change_is_measured_and_told(repo: Path) -> None:
    git(repo, "checkout", "--quiet", "main")
    gate = on_main(Measuring(), *SHORT)
    assert gate.outcome is GateOutcome.PASS
    assert gate.notes[0] == "the working tree is the merge base: nothing was changed"


def test_nothing_is_left_of_the_base_once_the_gate_has_judged(repo: Path) -> None:
    measuring = Measuring()
    on_main(measuring, *SHORT)
    assert not Path(measuring.jobs[0].arms[0].python).exists()
    assert len(git(repo, "worktree", "list").splitlines()) == 1


def test_an_interpreter_that_was_not_named_has_to_run_the_working_tree(repo: Path) -> None:
    measuring = Measuring()
    with pytest.raises(UsageError, match="does not run the code of"):
        gate_on_base(asking(measuring), "main", BUILD, trusted=False)
    assert measuring.jobs == []


def test_a_pythonpath_into_the_working_tree_is_refused(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(repo))
    with pytest.raises(UsageError, match="PYTHONPATH has"):
        on_main(Measuring())


def test_a_base_without_swapbench_is_refused_before_anything_is_measured(repo: Path) -> None:
    measuring = Measuring()
    bare = f"{sys.executable} -m venv --without-pip .venv"
    with pytest.raises(UsageError, match="can't run swapbench's worker"):
        gate_on_base(asking(measuring), "main", bare, trusted=True)
    assert measuring.jobs == []


def test_a_base_that_can_not_be_built_is_nothing_to_compare_with(repo: Path) -> None:
    with pytest.raises(IncomparableError, match="can't be built"):
        gate_on_base(asking(Measuring()), "main", "exit 1", trusted=True)


NONE = History("scripted", 0, (), ())


def usual(out: Path, factor: float = 1.0) -> History:
    """Ten runs that many times as slow as the one that a gate without changes measures."""
    measuring = Measuring()
    gate_on_history(asking(measuring, "gate.soak_swaps=0", out=out), "nightly", NONE)
    return past(read(measuring.jobs[0].writer.folder), [factor] * 10)


def test_by_a_history_the_change_alone_is_measured_and_soaks(repo: Path) -> None:
    measuring = Measuring()
    gate = gate_on_history(asking(measuring), "nightly", usual(repo / "past"))
    assert gate.outcome is GateOutcome.PASS
    assert measuring.kinds() == ["change", "change"]
    assert [job.experiment.rounds for job in measuring.jobs] == [3, 14]


def test_by_a_history_too_what_is_slower_is_measured_once_more(repo: Path) -> None:
    faster = usual(repo / "past", 1 / 1.3)
    measuring = Measuring()
    gate = gate_on_history(asking(measuring, "gate.soak_swaps=0"), "nightly", faster)
    assert gate.outcome is GateOutcome.REGRESSION
    assert len(measuring.jobs) == 2


def test_several_strategies_have_no_history(repo: Path) -> None:
    with pytest.raises(UsageError, match="one at a time is compared"):
        gate_on_history(asking(Measuring(), 'strategy=["stock", "slab"]'), "nightly", NONE)


def test_by_a_history_real_workers_measure_what_is_there(repo: Path) -> None:
    def carry(job: Job) -> Run:
        carry_out(job, _Seen())
        return read(job.writer.folder)

    dying = '[{scenario="up", round=1, fails_in="load", failure="kill"}]'
    settings = ("gate.soak_swaps=0", "rounds=2", f"script.swap={dying}")
    gate = gate_on_history(asking(Measuring(), *settings, carry=carry), "nightly", NONE)
    assert gate.outcome is GateOutcome.FAILED
    assert "SIGKILL" in gate.failures[0].reason
    assert gate.scenarios[0].change.b is not None
