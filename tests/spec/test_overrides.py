"""`--set key.path=value` on parsed TOML."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapbench.base.errors import UsageError
from swapbench.spec.overrides import Override, apply, short_for

RAW: dict[str, Any] = {
    "rounds": 3,
    "models": {"qwen2.5-14b": "org/Qwen"},
    "scenario": [{"name": "up", "to": "a"}, {"name": "v1.2", "to": "b"}],
    "script": {"swap": [{"scenario": "up"}]},
    "expected_s": {"load": [10, 20]},
}


def applied(override: str) -> dict[str, Any]:
    raw = deepcopy(RAW)
    apply(raw, Override(override))
    return raw


def test_a_table_that_is_not_there_yet_is_made() -> None:
    assert applied("workload.agents=4")["workload"] == {"agents": 4}


def test_an_item_is_found_by_its_name_by_what_it_plays_or_by_its_number() -> None:
    assert applied("scenario.up.to=c")["scenario"][0]["to"] == "c"
    assert applied("script.swap.up.fails_in=load")["script"]["swap"][0]["fails_in"] == "load"
    assert applied("scenario.1.to=c")["scenario"][1]["to"] == "c"
    assert applied("expected_s.load.1=30")["expected_s"]["load"] == [10, 30]


def test_a_name_with_a_dot_in_it_needs_no_quotes() -> None:
    assert applied("models.qwen2.5-14b=org/Other")["models"] == {"qwen2.5-14b": "org/Other"}
    assert applied("scenario.v1.2.to=c")["scenario"][1]["to"] == "c"


def test_a_new_name_with_a_dot_in_it_takes_quotes() -> None:
    assert applied('models."llama3.2"=org/Llama')["models"]["llama3.2"] == "org/Llama"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("3.5", 3.5),
        ("true", True),
        ('"3"', "3"),
        ("[1, 2]", [1, 2]),
        ("{a = 1}", {"a": 1}),
        ("mini", "mini"),
        ("org/Model=x", "org/Model=x"),
        ("", ""),
        ("1\nrounds = 2", "1\nrounds = 2"),
    ],
)
def test_a_value_is_toml_or_else_the_text_as_it_stands(text: str, value: Any) -> None:
    assert applied(f"key={text}")["key"] == value


def test_an_item_without_a_name_is_asked_for_by_number() -> None:
    with pytest.raises(UsageError, match="it has 2 items, counted from 0"):
        applied("expected_s.load.most=30")


@given(st.from_regex(r"[a-z_]{1,8}(\.[a-z_]{1,8}){0,3}", fullmatch=True), st.integers())
def test_what_is_set_in_an_empty_file_is_found_where_it_was_put(key: str, value: int) -> None:
    raw: dict[str, Any] = {}
    apply(raw, Override(f"{key}={value}"))
    found: Any = raw
    for part in key.split("."):
        found = found[part]
    assert found == value


@pytest.mark.parametrize(
    ("override", "name", "typed"),
    [
        (Override("rounds=3"), "--set rounds", "--set rounds=3"),
        (
            Override(" workload.agents = 4 ", "--a-set"),
            "--a-set workload.agents",
            "--a-set  workload.agents = 4 ",
        ),
        (Override(f"{'k' * 100}={'v' * 100}"), f"--set {'k' * 80}", f"--set {'k' * 80}"),
        (*short_for("source", "--models", "mini"), "--models", "--models mini"),
    ],
)
def test_an_override_is_called_what_was_typed_or_the_beginning_of_that(
    override: Override, name: str, typed: str
) -> None:
    assert (override.name, override.typed) == (name, typed)


def test_an_option_that_was_not_typed_overrides_nothing() -> None:
    assert short_for("rounds", "--rounds", None) == []


def test_what_can_not_be_read_is_told_in_the_words_of_its_option() -> None:
    with pytest.raises(UsageError) as caught:
        apply({}, Override("rounds", "--b-set"))
    assert str(caught.value) == (
        "--b-set rounds: write key.path=value, as in --b-set rounds=5 or --b-set workload.agents=4"
    )


def test_it_says_where_the_value_was_put() -> None:
    assert apply(deepcopy(RAW), Override("scenario.up.to=c")) == ("scenario", 0, "to")
    assert apply(deepcopy(RAW), Override("models.qwen2.5-14b=x")) == ("models", "qwen2.5-14b")
