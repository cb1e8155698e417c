"""Every kind of failure has one exit code, and a hint names the nearest valid word."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapbench import errors
from swapbench.errors import EXIT_MEANINGS, Exit, SwapbenchError, did_you_mean, nearest


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
    assert list(EXIT_MEANINGS) == list(Exit)


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


def test_without_any_word_that_is_said() -> None:
    assert did_you_mean("exp012", []) == "none is known"


@given(st.text(), st.lists(st.text(min_size=1), min_size=1))
def test_a_suggestion_is_always_one_of_the_known_words(word: str, known: list[str]) -> None:
    hint = did_you_mean(word, known)
    assert any(choice in hint for choice in known)
