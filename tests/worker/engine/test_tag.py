"""Model tags tell weights apart, not shapes."""

import os
import shutil
from pathlib import Path

import pytest

from swapbench.worker.engine.tag import ModelTag
from tests.worker.engine.conftest import tag_file

WEIGHTS = bytes(range(256)) * 400


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where digests are kept."""
    monkeypatch.setenv("SWAPBENCH_CACHE", str(tmp_path / "cache"))


def test_a_copy_has_the_same_tag(tmp_path: Path) -> None:
    folder = tag_file(tmp_path / "a", WEIGHTS)
    copy = Path(shutil.copytree(folder, tmp_path / "b"))
    os.utime(copy / "model.safetensors", (0, 0))
    assert ModelTag.of(folder, "m") == ModelTag.of(copy, "m")


def test_weights_that_differ_in_one_byte_have_another_tag(tmp_path: Path) -> None:
    tuned = WEIGHTS[:5000] + b"!" + WEIGHTS[5001:]
    one, other = tag_file(tmp_path / "a", WEIGHTS), tag_file(tmp_path / "b", tuned)
    assert ModelTag.of(one, "m") != ModelTag.of(other, "m")


def test_another_configuration_has_another_tag(tmp_path: Path) -> None:
    one, other = tag_file(tmp_path / "a", WEIGHTS), tag_file(tmp_path / "b", WEIGHTS, '{"rope_theta": 1}')
    assert ModelTag.of(one, "m") != ModelTag.of(other, "m")


def test_a_hub_snapshot_knows_its_revision(tmp_path: Path) -> None:
    folder = tag_file(tmp_path / "models--org--name" / "snapshots" / "0a1b2c", WEIGHTS)
    assert ModelTag.of(folder, "m").revision == "0a1b2c"
    assert ModelTag.of(tag_file(tmp_path / "plain", WEIGHTS), "m").revision == ""
