"""Which volume is measured, and whose limits a run gets."""

import signal
from datetime import UTC, datetime
from pathlib import Path

import huggingface_hub.constants
import pytest

from swapbench.base.errors import Stopped
from swapbench.machine.environment import this_machine
from swapbench.machine.limits import Rate, Volume, save
from swapbench.run import roofline
from swapbench.spec.experiment import Source
from swapbench.wire.events import Checkpoint
from tests.machine.test_limits import limits


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SWAPBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def checkpoint(path: Path) -> Checkpoint:
    return Checkpoint(name="m", reference="m", source=Source.HUB, path=path, weight_bytes=1)


def test_the_hub_is_measured_where_there_are_no_stand_ins(cache: Path, hub: Path) -> None:
    assert roofline.models_folder() == cache
    hub.mkdir()
    assert roofline.models_folder() == hub
    (cache / "synthetic").mkdir(parents=True)
    assert roofline.models_folder() == cache


def test_every_checkpoint_that_is_here_is_told_by_its_name_and_weights(cache: Path, hub: Path) -> None:
    for folder, sizes in (
        (cache / "synthetic" / "ham", (3, 4)),
        (cache / "synthetic" / ".half-made", (9,)),
        (cache / "mini" / "egg", (1,)),
        (hub / "models--org--spam" / "snapshots" / "old", (5,)),
        (hub / "models--org--spam" / "snapshots" / "new", (6,)),
    ):
        folder.mkdir(parents=True)
        for number, size in enumerate(sizes):
            (folder / f"model-{number}.safetensors").write_bytes(b"x" * size)
    assert roofline.weights_here() == {"ham (synthetic)": 7, "egg (mini)": 1, "org/spam": 6}


def test_a_run_gets_the_limits_of_the_volume_that_all_its_models_lie_on(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Volume.of(tmp_path)
    there = here.model_copy(update={"mount": "/Volumes/other"})
    save(limits(machine=this_machine(), volume=here, measured_at=datetime.now(UTC)), cache)
    both = [checkpoint(tmp_path / "a"), checkpoint(tmp_path / "b")]
    kept = roofline.limits_of(both, this_machine())
    assert kept is not None
    assert kept.volume == here
    monkeypatch.setattr(Volume, "of", lambda path: there if path.name == "b" else here)
    assert roofline.limits_of(both, this_machine()) is None
    assert roofline.limits_of([], this_machine()) is None


def test_an_end_from_outside_does_not_wait_for_the_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rate = Rate(kind="disk", how="queue depth 1", n=1, low=2.0, median=2.0, high=2.0)
    code = f"import signal; print({rate.model_dump_json()!r}, flush=True); signal.pause()"
    monkeypatch.setattr(roofline, "LENT", ("-c", code))

    def say(text: str) -> None:
        if text.startswith("  "):
            raise Stopped(signal.SIGTERM)

    with pytest.raises(Stopped):
        roofline.measure(tmp_path, say)
