"""Errors in one line, with the nearest valid word, and without frames."""

import gc
import weakref
from operator import mul

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapbench.base import errors
from swapbench.base.errors import Exit, SwapbenchError, did_you_mean, let_go, nearest, one_line


def test_the_exit_codes_are_those_that_scripts_rely_on() -> None:
    assert {code.name: int(code) for code in Exit} == {
        "OK": 0,
        "CRASH": 1,
        "USAGE": 2,
        "REGRESSION": 3,
        "TARGET_MISSED": 4,
        "LEAK": 5,
        "INCONCLUSIVE": 6,
        "FAILED": 7,
        "HUNG_UP": 129,
        "INTERRUPTED": 130,
        "TERMINATED": 143,
    }
    assert all(code.meaning for code in Exit)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.UsageError, Exit.USAGE),
        (errors.ExperimentError, Exit.USAGE),
        (errors.ModelError, Exit.USAGE),
        (errors.ResultsError, Exit.USAGE),
        (errors.TransferError, Exit.FAILED),
        (errors.WorkerError, Exit.FAILED),
    ],
)
def test_a_kind_of_failure_knows_its_exit_code(kind: type[SwapbenchError], code: Exit) -> None:
    assert kind("what happened").exit_code is code


def test_a_near_word_is_suggested() -> None:
    assert did_you_mean("exp12", ["exp012", "quick"]) == 'did you mean "exp012"?'


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("rn", "run", "run"),
        ("rnu", "run", "run"),
        ("shwo", "show", "show"),
        ("fial", "fail", "fail"),
        ("exp014", "exp014-faults", "exp014-faults"),
        ("qwen", "qwen2.5-14b", "qwen2.5-14b"),
        ("source", "json", None),
        ("nope", "help", None),
        ("results", "exp014-faults", None),
        ("stop", "slab", None),
        ("htm", "md", None),
    ],
)
def test_a_word_is_near_when_it_may_have_been_meant(word: str, known: str, meant: str | None) -> None:
    assert nearest(word, [known]) == meant


def test_without_a_near_word_all_are_named_in_order() -> None:
    assert did_you_mean("zzz", ["quick", "exp012"]) == "known: exp012, quick"


def test_of_many_words_some_are_named() -> None:
    hint = did_you_mean("zzz", [f"run-{number:03}" for number in range(100)])
    assert hint.startswith("known: run-000, run-001")
    assert hint.endswith("run-023 and 76 more")


def test_of_long_words_as_many_are_named_as_fit_in_a_line() -> None:
    hint = did_you_mean("zzz", [f"{number}-{'n' * 97}" for number in range(9)])
    assert hint.endswith(" and 7 more")
    assert len(hint) < 350


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain: as it is", "plain: as it is"),
        ("two\n  lines", "two lines"),
        ("a\x1b[31mred\x07", "a\\x1b[31mred\\x07"),
        ("caf\udce9.toml", "caf\\udce9.toml"),
        (
            "\N{LATIN SMALL LETTER E WITH ACUTE}\N{RIGHTWARDS ARROW}",
            "\N{LATIN SMALL LETTER E WITH ACUTE}\N{RIGHTWARDS ARROW}",
        ),
    ],
)
def test_an_explanation_is_one_line_that_no_terminal_obeys(text: str, shown: str) -> None:
    assert one_line(text) == shown


def test_of_a_long_explanation_what_is_wrong_and_what_to_do_are_kept() -> None:
    line = one_line(f"--out {'x' * 5000}: no run can be kept there; choose another place by --out")
    assert len(line) <= 600
    assert line.startswith("--out xxx")
    assert line.endswith("x: no run can be kept there; choose another place by --out")


@given(st.builds(mul, st.text(max_size=200), st.integers(1, 10)))
def test_every_explanation_can_be_written_and_ends(text: str) -> None:
    line = one_line(text)
    assert len(line) <= 600
    assert line.isprintable()
    assert line.encode().decode() == line


def test_without_any_word_that_is_said() -> None:
    assert did_you_mean("exp012", []) == "none is known"


@given(st.text(), st.lists(st.text(min_size=1), min_size=1))
def test_a_suggestion_is_always_one_of_the_known_words(word: str, known: list[str]) -> None:
    hint = did_you_mean(word, known)
    assert any(choice in hint for choice in known)


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
