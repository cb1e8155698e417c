"""Of several ranks, the one that decides."""

import pytest

from swapbench.spec.experiment import PageCache
from swapbench.worker.targets.sharded import worst


@pytest.mark.parametrize(
    ("label", "share"), [(PageCache.WARM, 0.0), (PageCache.COLD, 1.0), (PageCache.AS_IS, 0.0)]
)
@pytest.mark.parametrize("resident", [[0.0, 1.0], [1.0, 0.0]])
def test_the_rank_that_contradicts_the_label_decides(
    label: PageCache, share: float, resident: list[float]
) -> None:
    assert worst(resident, label) == share
