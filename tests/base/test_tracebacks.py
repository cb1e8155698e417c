"""What an error that is kept must not hold on to."""

import gc
import weakref

import pytest

from swapbench.base.tracebacks import let_go


class Model:
    """Something large."""


def load(seen: list["weakref.ref[Model]"]) -> None:
    model = Model()
    seen.append(weakref.ref(model))
    raise OSError("shard missing")


def swap(seen: list["weakref.ref[Model]"]) -> None:
    try:
        load(seen)
    except OSError as error:
        raise ValueError("no such model") from error


def fail(seen: list["weakref.ref[Model]"]) -> Exception:
    with pytest.raises(ValueError, match="no such model") as caught:
        swap(seen)
    return caught.value


def test_what_the_frames_of_an_error_held_is_free_once_it_is_let_go() -> None:
    seen: list[weakref.ref[Model]] = []
    error = fail(seen)
    assert seen[0]() is not None
    let_go(error)
    gc.collect()
    assert seen[0]() is None


def test_what_the_error_and_its_cause_say_stays() -> None:
    error = fail([])
    let_go(error)
    assert (str(error), str(error.__cause__)) == ("no such model", "shard missing")


def test_errors_that_lead_to_one_another_in_a_circle_end() -> None:
    first, second = ValueError(), ValueError()
    first.__context__, second.__context__ = second, first
    let_go(first)
    assert first.__traceback__ is second.__traceback__ is None
