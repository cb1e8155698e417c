"""Which models are asked in a process of their own, and what becomes of one that can't answer."""

import sys
from pathlib import Path
from typing import Any

import pytest

from swapbench.base.errors import WorkerError
from swapbench.run.worker_process import last_line, replies_of, verified_models
from swapbench.spec.experiment import Experiment, Source, validate
from swapbench.wire.plan import Checkpoint, schedule, turns
from tests.scripted import scripted


def _experiment(**changes: Any) -> Experiment:
    raw = {
        "models": {"a": "a", "b": "b", "c": "c"},
        "scenario": [
            {"name": "ab", "from": "a", "to": "b"},
            {"name": "ba", "from": "b", "to": "a", "first_token": False},
            {"name": "cb", "from": "c", "to": "b"},
        ],
    }
    return validate(raw | changes, "test")


def test_models_that_are_swapped_to_and_asked_are_verified() -> None:
    experiment = _experiment()
    assert verified_models(experiment, schedule(experiment, turns(experiment)[0])) == ("b",)


@pytest.mark.parametrize("changes", [{"verify": {"tokens": 0}}, {"first_token": False}])
def test_nothing_is_verified_where_no_token_is_asked_for(changes: dict[str, Any]) -> None:
    experiment = _experiment(**changes)
    assert verified_models(experiment, schedule(experiment, turns(experiment)[0])) == ()


def test_a_resumed_run_asks_only_for_what_is_left() -> None:
    experiment = _experiment(rounds=1)
    left = schedule(experiment, turns(experiment)[0], {("", 0, "stock", "ab"), ("", 0, "stock", "cb")})
    assert verified_models(experiment, left) == ()


def test_a_script_has_no_models_to_ask() -> None:
    experiment = scripted()
    assert verified_models(experiment, schedule(experiment, turns(experiment)[0])) == ()


def test_a_checkpoint_that_cannot_be_loaded_has_no_replies_and_a_reason(tmp_path: Path) -> None:
    nothing = Checkpoint(name="b", reference="b", source=Source.HUB, path=tmp_path / "gone", weight_bytes=0)
    with pytest.raises(WorkerError, match="gone"):
        replies_of(nothing, _experiment(), sys.executable, tmp_path / "log")
    assert "gone" in last_line(tmp_path / "log")


def test_an_interpreter_that_is_not_there_is_said(tmp_path: Path) -> None:
    nothing = Checkpoint(name="b", reference="b", source=Source.HUB, path=tmp_path, weight_bytes=0)
    with pytest.raises(WorkerError, match="can't be started"):
        replies_of(nothing, _experiment(), str(tmp_path / "python"), tmp_path / "log")
