"""The right answers come from servers that have never swapped."""

from pathlib import Path

import pytest

from swapbench.wire.events import Note
from swapbench.worker.reference import MismatchError
from swapbench.worker.targets.http.references import Reference, References, prompts
from tests.worker.targets.http.standing import THERE, play, preset, swaps_of

BOOTED = ("--model", "{model}")


def test_one_that_answers_long_prompts_by_its_first_model_is_named(tmp_path: Path) -> None:
    verify = {"prompt_tokens": [8, 512]}
    there, back = swaps_of(
        play(tmp_path, preset("mlx_lm", *BOOTED, "--long-by-boot"), verify=verify, known=False)
    )
    assert there.status == "rolled_back"
    assert "egg answers a prompt of 512 words word for word as ham does: the server" in there.error
    assert back.status == "ok"


def test_one_that_answers_otherwise_from_its_prompt_cache_is_not_the_wrong_model(tmp_path: Path) -> None:
    events = play(tmp_path, preset("mlx_lm", "--prompt-cache"), scenario=[THERE], rounds=2, known=False)
    first, second = swaps_of(events)
    assert (first.error, second.error) == ("", "")
    (note,) = (event.text for event in events if isinstance(event, Note))
    assert "otherwise than from a server freshly started on it, and another one of that length" in note


@pytest.mark.parametrize("keeps", [True, False])
def test_what_a_server_takes_is_known_from_one_that_had_no_other_model(keeps: bool, tmp_path: Path) -> None:
    options = ("--weighs-mib", "100", *(("--keeps-boot",) if keeps else ()))
    for swap in swaps_of(play(tmp_path, preset("mlx_lm", *options), known=False)):
        assert swap.outcome.fresh_footprint_bytes is not None
        assert swap.settled.footprint_bytes is not None
        beyond = swap.settled.footprint_bytes - swap.outcome.fresh_footprint_bytes
        assert (beyond > 90 << 20) == keeps


def test_references_outlast_a_worker_and_tell_whose_words_an_answer_has(tmp_path: Path) -> None:
    asked = prompts([512, 8])
    assert list(asked) == ["8", "8+", "512", "512+"]
    assert asked["8"] != asked["8+"]
    References(tmp_path).keep("ham", Reference({"8": "one", "8+": "two"}, fresh=True))
    references = References(tmp_path)
    references.keep("egg", Reference({"8": "three", "8+": "four"}))
    assert references.mismatch("ham", "8", "one") is None
    assert "ham answers a prompt of 8 words word for word as egg does" in str(
        references.mismatch("ham", "8", "three")
    )
    assert "freshly started on it" in str(references.mismatch("ham", "8+", "one"))
    assert "when it was first served" in str(references.mismatch("egg", "8", "five"))
    assert references.keep("fig", Reference({"8": "five", "8+": "six"})) == ""
    one = {"8": "seven", "8+": "eight", "512": "nine", "512+": "ten"}
    assert references.keep("oat", Reference(one)) == ""
    assert "rye answers prompts of 512 words word for word as oat does" in references.keep(
        "rye", Reference(one | {"8": "eleven"})
    )
    with pytest.raises(MismatchError, match="nut answers word for word as egg does"):
        references.keep("nut", Reference({"8": "three", "8+": "four"}))
