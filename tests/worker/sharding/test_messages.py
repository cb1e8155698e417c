"""From what ranks measured to the rows of a phase, without any rank."""

from swapbench.wire.swap import PhaseMeasured, Reading
from swapbench.worker.sharding import gather, own_work_s, slowest, sum_up


def row(seconds: float, span: str = "", **more: int | None) -> PhaseMeasured:
    reading = Reading(footprint_bytes=100, system_available_bytes=1000)
    return PhaseMeasured.model_validate(
        {
            "phase": "load",
            "span": span,
            "start_s": 0.0,
            "seconds": seconds,
            "before": reading,
            "after": reading,
            **more,
        }
    )


QUICK = (row(5.0, disk_read_bytes=7), row(1.0, "read"), row(4.0, "barrier"))
SLOW = (row(4.9, disk_read_bytes=9), row(4.5, "read"), row(0.1, "barrier"))


def of_all(*ranks: tuple[PhaseMeasured, ...]) -> dict[str, PhaseMeasured]:
    """The rows of all ranks together, by span."""
    return {row.span: row for row in gather(ranks) if row.rank is None}


def test_waiting_for_others_is_no_work() -> None:
    assert own_work_s(QUICK) == 1.0
    assert own_work_s((row(3.0),)) == 3.0


def test_the_slowest_rank_is_who_worked_longest_and_not_who_waited_longest() -> None:
    assert slowest((QUICK, SLOW)) == 1
    assert slowest((SLOW, QUICK)) == 0


def test_of_ranks_that_are_equally_slow_the_first_is_taken() -> None:
    assert slowest((SLOW, SLOW)) == 0


def test_the_phase_has_the_slowest_ranks_time_and_spans() -> None:
    together = of_all(QUICK, SLOW)
    assert together[""].seconds == 4.9
    assert together["read"].seconds == 4.5
    assert together["barrier"].seconds == 0.1


def test_skew_is_how_much_longer_the_slowest_worked_than_the_fastest() -> None:
    assert of_all(QUICK, SLOW)["skew"].seconds == 4.9 - 0.1 - 1.0


def test_memory_and_counts_are_sums_over_ranks() -> None:
    whole = of_all(QUICK, SLOW)[""]
    assert whole.before.footprint_bytes == 200
    assert whole.disk_read_bytes == 16


def test_a_sum_of_which_a_part_is_unknown_is_unknown() -> None:
    assert of_all(QUICK, (row(1.0),))[""].disk_read_bytes is None


def test_of_what_is_left_on_a_machine_the_scarcest_counts() -> None:
    readings = (Reading(system_available_bytes=5), Reading(system_available_bytes=3))
    assert sum_up(readings).system_available_bytes == 3
    assert sum_up(()) == Reading()


def test_every_ranks_own_rows_come_first_and_bear_its_number() -> None:
    rows = list(gather((QUICK, SLOW)))
    assert [r.rank for r in rows] == [0, 0, 0, 1, 1, 1, None, None, None, None]


def test_a_single_rank_has_no_skew() -> None:
    assert [(r.rank, r.span) for r in gather((SLOW,)) if r.rank is None] == [
        (None, ""),
        (None, "read"),
        (None, "barrier"),
    ]
