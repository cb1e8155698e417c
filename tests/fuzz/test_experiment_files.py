"""Spoilt experiment files end in an experiment or in one line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapbench.base.errors import UsageError
from swapbench.spec.experiment import Experiment, find, load
from tests.fuzz.mutations import spoilt

pytestmark = pytest.mark.fuzz
VALID = [find(name).read_bytes() for name in ("exp012-loaded", "exp014-faults", "exp015-soak")]


@given(data=st.one_of(st.binary(max_size=300), *map(spoilt, VALID)))
def test_a_spoilt_file_is_an_experiment_or_one_line(
    data: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = _path(tmp_path_factory)
    path.write_bytes(data)
    try:
        assert isinstance(load(path), Experiment)
    except UsageError as error:
        refusal = str(error)
        assert refusal.startswith(str(path))
        assert "\n" not in refusal
        assert len(refusal) < 2000


def _path(factory: pytest.TempPathFactory) -> Path:
    # One folder for all examples: ten thousand of them would be clutter.
    return factory.getbasetemp() / "fuzzed.toml"
