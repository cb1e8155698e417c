"""A run under the user's eyes, or not."""

from pathlib import Path
from unittest.mock import patch

import pytest

from swapbench.cli.carrying import carry_out_watched
from swapbench.run.runner import Job, Observer, new_job
from swapbench.wire.plan import scripted_checkpoints
from tests.scripted import play, scripted


@pytest.fixture
def job(tmp_path: Path) -> Job:
    experiment = scripted(rounds=1)
    return new_job(experiment, Path("s.toml"), scripted_checkpoints(experiment), tmp_path, command=[])


@pytest.mark.parametrize(
    ("quiet", "verbose", "json", "told"),
    [
        (False, False, False, True),
        (True, False, False, False),
        (False, False, True, False),
        (False, True, True, True),
    ],
)
def test_who_wants_json_is_told_nothing_beside_it_unless_they_ask(
    job: Job, capsys: pytest.CaptureFixture[str], *, quiet: bool, verbose: bool, json: bool, told: bool
) -> None:
    def carry_out(_job: Job, observer: Observer) -> None:
        for event in play(scripted(rounds=1)):
            observer.on(event)

    with patch("swapbench.run.runner.carry_out", carry_out):
        carry_out_watched(job, quiet=quiet, verbose=verbose, json=json)
    said = capsys.readouterr()
    assert ("round 1/1" in said.err) is told
    assert said.out == ""
