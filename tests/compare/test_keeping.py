"""What a baseline keeps of a run, and of which runs it keeps nothing."""

from dataclasses import replace
from pathlib import Path

import pytest

from swapbench.base.errors import UsageError
from swapbench.compare.fingerprint import digest
from swapbench.compare.keeping import kept_run
from tests.played import a_run, loads, pairs
from tests.scripted import scripted


def test_it_is_the_median_of_the_headline_figure_and_of_every_phase(tmp_path: Path) -> None:
    run = a_run(tmp_path, loads("up", [9.0, 3.0, 3.5, 3.25], first=0), rounds=3, warmup=1)
    entry, aspects = kept_run(run)
    up = entry.scenarios["up"]
    assert (up.figure, up.n, up.seconds) == ("to_first_token", 3, 3.65)
    assert up.phases_s["load"] == 3.25
    assert list(entry.scenarios) == ["up", "down"]
    assert (entry.run_id, entry.experiment) == (run.info.run_id, "scripted")
    assert entry.started_at == run.info.started_at
    assert entry.fingerprint == digest(aspects)
    assert aspects["models"].startswith("large = l (hub, 8000000000 bytes)")


def test_without_a_first_token_it_is_the_total(tmp_path: Path) -> None:
    entry, _ = kept_run(a_run(tmp_path, first_token=False))
    assert (entry.scenarios["up"].figure, entry.scenarios["up"].seconds) == ("total", 3.3)


def test_figures_have_six_decimals(tmp_path: Path) -> None:
    entry, _ = kept_run(a_run(tmp_path, loads("up", [1 / 3] * 3)))
    assert str(entry.scenarios["up"].seconds) == "2.4"
    assert all(len(str(s).partition(".")[2]) <= 6 for s in entry.scenarios["up"].phases_s.values())


def test_a_scenario_without_a_swap_that_counts_is_not_kept(tmp_path: Path) -> None:
    entry, _ = kept_run(a_run(tmp_path, [{"scenario": "up", "fails_in": "load"}]))
    assert list(entry.scenarios) == ["down"]


def test_a_swap_of_no_duration_is_not_kept_since_histories_take_logarithms(tmp_path: Path) -> None:
    nothing = {"drain": 0.0, "load": 0.0, "reinit": 0.0}
    run = a_run(tmp_path, [{"scenario": "up", "seconds": nothing}], first_token=False)
    assert (
        "up"
        not in kept_run(replace(run, swaps=tuple({**row, "total_s": 0.0} for row in run.swaps)))[0].scenarios
    )


def test_a_run_of_two_arms_is_no_history_of_one_thing(tmp_path: Path) -> None:
    run = pairs(tmp_path, scripted(), scripted())
    with pytest.raises(UsageError, match="has two arms; a baseline keeps runs of one thing"):
        kept_run(run)


@pytest.mark.parametrize("status", ["incomplete", "interrupted", "running"])
def test_a_run_that_did_not_end_well_is_not_kept(tmp_path: Path, status: str) -> None:
    run = a_run(tmp_path)
    with pytest.raises(UsageError, match=f"is {status}; a baseline keeps complete runs that were measured"):
        kept_run(replace(run, info=run.info.model_copy(update={"status": status})))


def test_a_transcribed_run_is_not_kept(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    with pytest.raises(UsageError, match="is transcribed"):
        kept_run(replace(run, info=run.info.model_copy(update={"transcribed_from": "a page"})))
