"""Two runs side by side, in every form."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from swapbench.base.figures import EN_DASH
from swapbench.compare.comparison import Comparison
from swapbench.report.forms import COMPARISON_VERSION, comparison_to_markdown, show_comparisons
from swapbench.report.sections.comparison import comparison_verdict, noise_floor
from tests.report.judged import apart, comparison
from tests.report.test_forms import keys

HERE = Path(__file__).parent


def shown(found: Comparison, form: str, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    show_comparisons([found], form, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_comparison_in_markdown(tmp_path: Path) -> None:
    assert shown(comparison(tmp_path), "md") == (HERE / "comparison.md").read_text(encoding="utf-8")


def test_the_keys_of_the_json_document(tmp_path: Path) -> None:
    document = json.loads(shown(comparison(tmp_path), "json"))
    assert document["comparison_version"] == COMPARISON_VERSION == 1
    for side in ("a", "b"):
        document["comparisons"][0][side]["versions"] = {}
    expected = (HERE / "comparison-json-keys.txt").read_text(encoding="utf-8").split()
    assert sorted(keys(document)) == expected


def test_a_bound_that_is_not_there_is_null_in_json_and_left_out_elsewhere(tmp_path: Path) -> None:
    few = comparison(tmp_path, rounds=3)
    ratio = json.loads(shown(few, "json"))["comparisons"][0]["scenarios"][0]["headline"]["ratio"]
    assert ratio["high"] is None
    assert "| 0 % | inconclusive: n = 3, 6 wanted |" in shown(few, "md")
    assert "inconclusive: n = 3, 6 wanted" in shown(few, "md")


@pytest.mark.parametrize("width", [80, 120, 200])
def test_no_figure_is_cut_at_any_width(tmp_path: Path, width: int) -> None:
    text = shown(comparison(tmp_path), "rich", width)
    assert max(map(len, text.splitlines())) <= width
    for figure in (
        *("3.405", f"(3.370{EN_DASH}3.430)", "4.300", f"(4.261{EN_DASH}4.339)", "(+26 to +27 %)", "+5.7 %"),
        *(
            "3.005",
            f"(2.970{EN_DASH}3.030)",
            "3.900",
            f"(3.861{EN_DASH}3.939)",
            "(+29 to +31 %)",
            "195.4 MiB",
        ),
        *("reconfigure", "update_tag", "too short to matter", "no worse than +5 %", "slower", "up", "down"),
    ):
        assert figure in text


def test_the_verdict_comes_first_and_stands_apart_from_the_facts(tmp_path: Path) -> None:
    lines = shown(comparison(tmp_path), "rich").splitlines()
    at = lines.index("Verdict")
    assert lines[at + 1].strip() == "up slower (+26 %), down no worse than +5 % (0 %)"
    assert lines[at + 2].strip() == ""
    assert lines[at + 3].split() == ["run", "run-1,", "2026-03-01", "10:15", "UTC"]


def test_two_arms_have_one_run_and_runs_have_their_own(tmp_path: Path) -> None:
    assert shown(comparison(tmp_path), "md").count("run-1") == 1
    text = shown(apart(tmp_path), "md")
    assert "## Up and down: run-1 against run-2" in text
    assert "- **A**: run-1, 2026-03-01 10:15 UTC, 20 swaps" in text
    assert "separate runs: whatever the machine did otherwise" in text


def test_what_can_not_be_compared_is_marked_everywhere_and_has_no_verdict(tmp_path: Path) -> None:
    found = apart(tmp_path, steady_tokens=1)
    assert comparison_verdict(found).text == "not comparable: shown side by side, without verdicts"
    text = shown(found, "md")
    assert "- steady\\_tokens: 16 against 1" in text or "- steady_tokens: 16 against 1" in text
    assert "no worse" not in text
    assert "slower" not in text
    assert text.count("not comparable") > 10


def test_a_long_row_of_turns_is_told_by_its_ends(tmp_path: Path) -> None:
    text = shown(comparison(tmp_path, rounds=20, gate={"pairs": 20}), "md")
    assert "AB BA AB BA AB BA … AB BA AB" in text


def test_a_setting_that_is_a_whole_table_is_told_by_its_beginning(tmp_path: Path) -> None:
    text = shown(comparison(tmp_path), "md")
    (line,) = [line for line in text.splitlines() if line.startswith("- script.swap")]
    assert len(line) < 300
    assert (
        "first_token_s"
        in json.loads(shown(comparison(tmp_path), "json"))["comparisons"][0]["differences"][0]["a"]
    )


def test_the_same_twice_tells_the_noise_floor(tmp_path: Path) -> None:
    same = replace(comparison(tmp_path, 1.03), same=True)
    up, down = noise_floor(same)
    assert up.text.startswith("+2.6 % (+2")
    assert "between two of the same with 10 pairs: a margin under +3" in up.text
    assert down.text.startswith("0 % (0 to 0 %)")
    few = replace(comparison(tmp_path, rounds=3), same=True)
    assert noise_floor(few)[0].text == "not known from fewer than 6 pairs"
    assert noise_floor(comparison(tmp_path)) == ()


def test_nothing_in_common_is_told(tmp_path: Path) -> None:
    nothing = replace(comparison(tmp_path), scenarios=(), leaks=())
    assert comparison_verdict(nothing).text == "nothing was measured in both"
    assert "nothing was measured in both" in comparison_to_markdown(nothing)


def test_several_comparisons_follow_each_other(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=120)
    show_comparisons([apart(tmp_path), apart(tmp_path)], "md", console)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert text.count("## Up and down") == 2
    assert "\n\n## Up and down" in text
