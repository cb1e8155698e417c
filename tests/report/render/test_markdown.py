"""The report as a comment on a pull request."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swapbench.base.figures import NOT_RECORDED, factor, times
from swapbench.findings import analyse
from swapbench.report.blocks import Cell, Line, Lines, Table
from swapbench.report.forms import to_markdown
from swapbench.report.layout import plain, section
from swapbench.report.render import markdown as render
from swapbench.spec.experiment import Source
from swapbench.store import Run
from tests.findings.recording import Recording
from tests.report.github import Rendered, form, rendered, visible
from tests.report.test_any_run import swaps
from tests.report.test_forms import full


def markdown(run: Run) -> str:
    text = to_markdown(analyse(run))
    assert len(text.encode()) < render.MOST_BYTES
    return text


def comment(run: Run) -> Rendered:
    return rendered(markdown(run))


def verdict(text: str) -> str:
    """The line below the heading."""
    return text.splitlines()[2]


def measured(folder: Path, load_s: float = 3.0, **changes: Any) -> Recording:
    """Three rounds up and down."""
    recording = Recording(folder, **changes)
    for number in range(3):
        recording.swap(number, "up", {"unload": 0.02, "load": load_s}, first_token_s=0.5)
        recording.swap(number, "down", {"unload": 0.5, "load": 0.25}, first_token_s=0.25)
    return recording


def test_the_verdict_comes_first_with_what_it_is_about(tmp_path: Path) -> None:
    text = markdown(measured(tmp_path).run())
    assert text.startswith("## Up and down\n")
    assert verdict(text) == (
        "**Inconclusive: Every swap succeeded; no criterion was declared. "
        "To the first token: up 3.52 s, down 1.00 s**"
    )


def test_criteria_that_are_not_met_are_named(tmp_path: Path) -> None:
    assert verdict(markdown(measured(tmp_path, load_s=31.0).run())).startswith(
        "**Missed: 1 criterion not met. Every scenario under 30 s: up takes 31.0 s, "
    )


def test_failed_swaps_are_counted_in_the_verdict(tmp_path: Path) -> None:
    recording = measured(tmp_path)
    recording.failed_swap(3, "up")
    recording.failed_swap(3, "down", status="rolled_back", rollback_s=1.0)
    text = markdown(recording.run())
    assert verdict(text).startswith("**Failed: 1 swap failed, 1 rolled back. ")
    assert "What went wrong" in rendered(text).folded


def test_one_table_is_seen_and_the_rest_is_folded(tmp_path: Path) -> None:
    text = markdown(measured(tmp_path).run())
    made = rendered(text)
    assert made.tables[0] == [
        ["scenario", "request → first token", "swap", "against 30 s", "bottleneck"],
        ["up: small → large", "**3.520**", "3.020", f"{factor(30 / 3.02)} under", "load 85 %"],
        ["down: large → small", "**1.000**", "0.750", f"{factor(40)} under", "unload 50 %"],
    ]
    seen, _, _ = text.partition("<details>")
    assert len(rendered(seen).tables) == 1
    assert made.folded == [
        "The swap",
        "Over the rounds",
        "Leaks",
        "Environment and warnings",
        "Criteria",
    ]


def test_which_models_were_measured_is_never_folded(tmp_path: Path) -> None:
    text = markdown(measured(tmp_path, source=Source.MINI).run())
    seen, _, _ = text.partition("<details>")
    assert "mini models: scaled down; their times say nothing about the real models" in seen
    assert "against" not in seen


def test_the_diagram_lays_each_phases_median_behind_the_one_before(tmp_path: Path) -> None:
    (diagram,) = comment(measured(tmp_path).run()).diagrams
    assert diagram.splitlines()[4:] == [
        "    section up",
        "    load 3.00 s :crit, 20, 3000ms",  # unload is under 1 % of the swap, and still takes its time
        "    first token 0.500 s :active, 3020, 500ms",
        "    section down",
        "    unload 0.500 s :crit, 0, 500ms",
        "    load 0.250 s :500, 250ms",
        "    first token 0.250 s :active, 750, 250ms",
    ]


def test_in_the_diagram_strategies_of_a_scenario_with_a_long_name_are_told_apart(tmp_path: Path) -> None:
    name = "from-a-model-with-a-long-name-to-another-with-a-long-name"
    scenario = {"name": name, "from": "small", "to": "large"}
    recording = Recording(tmp_path, scenario=[scenario], strategy=["stock", "slab"])
    for strategy, load_s in (("stock", 4.0), ("slab", 1.0)):
        recording.swap(0, name, {"load": load_s}, strategy=strategy)
    (diagram,) = comment(recording.run()).diagrams
    sections = [line.strip() for line in diagram.splitlines() if "section" in line]
    assert [section.rpartition(" ")[2] for section in sections] == ["(stock)", "(slab)"]
    assert all(section.startswith("section from-a-model-") for section in sections)


def test_a_run_in_which_nothing_was_measured_has_no_diagram(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.failed_swap(0, "up")
    text = markdown(recording.run())
    assert rendered(text).diagrams == []
    assert rendered(text).tables[0][1] == [
        "up: small → large",
        NOT_RECORDED,
        NOT_RECORDED,
        "not measured: failed",
    ]
    assert verdict(text).endswith("Nothing was measured**")


def test_strategies_are_rows_and_the_fastest_is_in_the_verdict(tmp_path: Path) -> None:
    recording = Recording(tmp_path, strategy=["stock", "slab"])
    for strategy, load_s in (("stock", 4.0), ("slab", 1.0)):
        recording.swap(0, "up", {"load": load_s}, strategy=strategy)
    text = markdown(recording.run())
    assert f"Whole swap: up 1.00 s by slab, {times(4)} as fast as stock**" in verdict(text)
    made = rendered(text)
    assert [row[:4] for row in made.tables[0]] == [
        ["scenario", "strategy", "swap", "as fast"],
        ["up", "slab", "**1.000**", factor(4)],
        ["up", "stock", "**4.000**", factor(1)],
        ["down", "stock", NOT_RECORDED, NOT_RECORDED],
        ["down", "slab", NOT_RECORDED, NOT_RECORDED],
    ]
    assert "    section up (stock)\n" in made.diagrams[0]


def test_of_many_strategies_the_fastest_three_and_stock_are_seen(tmp_path: Path) -> None:
    names = ["stock", "slab", "fill", "reuse", "direct", "map", "auto", "own"]
    recording = Recording(tmp_path, strategy={name: {} for name in names[:-1]} | {"own": {"loader": "slab"}})
    for i, name in enumerate(names):
        recording.swap(0, "up", {"load": 9.0 - i}, strategy=name)
    made = comment(recording.run())
    up = [row[1] for row in made.tables[0] if row[0] == "up"]
    assert up == ["own", "auto", "map", "stock"]


def test_an_interrupted_run_says_so_before_any_figure(tmp_path: Path) -> None:
    recording = measured(tmp_path)
    text = markdown(recording.run("interrupted", failure="interrupted by the user"))
    before, _, _ = text.partition("| scenario")
    assert "it was interrupted: interrupted by the user" in before
    assert f"`swapbench run --resume {recording.folder}`" in before


def test_a_full_run_is_sound_markdown(tmp_path: Path) -> None:
    made = rendered(to_markdown(full(tmp_path)))
    assert {"What was moved, and who waited", "What the machine could do", "What went wrong"} <= set(
        made.folded
    )


@pytest.mark.parametrize("failures", [30, 300])
def test_where_room_is_short_the_last_parts_that_do_not_fit_are_named(tmp_path: Path, failures: int) -> None:
    recording = measured(tmp_path)
    for number in range(failures):
        recording.failed_swap(3 + number, "up", error=f"load failed: {number} " + "x" * 250)
    text = markdown(recording.run(notes=("y" * 3000,) * (failures // 10)))
    told = "Left out, for a comment holds no more: What went wrong, Environment and warnings.\n"
    assert text.endswith(told) == (failures == 300)
    assert {"The swap", "Criteria"} <= set(rendered(text).folded)


def test_many_scenarios_with_long_names_still_fit(tmp_path: Path) -> None:
    scenarios = [{"name": f"s{i}-" + "n" * 400, "from": "small", "to": "large"} for i in range(150)]
    recording = Recording(tmp_path, scenario=scenarios, title="t" * 5000)
    for scenario in scenarios:
        recording.swap(0, scenario["name"], {"load": 1.0})
    text = markdown(recording.run())
    made = rendered(text)
    assert len(made.tables[0]) == 41
    assert "110 more scenarios are not shown" in text
    assert made.diagrams[0].count("section") == 6
    assert "and 144 more**" in text


@pytest.mark.parametrize(
    "odd", ["a | b", "<b>bold</b> `code`", "</details>", "```\n# no\n", "x\n\n| a | b |"]
)
def test_what_a_message_holds_stays_text(tmp_path: Path, odd: str) -> None:
    recording = measured(tmp_path, title=odd)
    recording.failed_swap(3, "up", error=odd)
    comment(recording.run("incomplete", failure=odd, notes=(odd,), transcribed_from=odd))


def everywhere(text: str) -> str:
    """A document that holds a text wherever one can stand."""
    table = Table(text, text, ((text,),), (((Cell(text), Cell(text, tone="strong")),),), legend=text)
    lines = (Line("", text, below=(text, text)), Line(text, text), Line("", text))
    return render.to_markdown(
        f"## {render.escape(text)}\n",
        [section("a", "", Lines(text, lines), Lines("", lines), table, decides=True)],
    )


odd_parts = st.sampled_from(
    [
        *(
            "__init__",
            "_a",
            "a_",
            "a_b",
            "*",
            "**",
            "`",
            "```",
            "~~",
            "$",
            "|",
            "\\",
            "<b>",
            "&amp;",
            "![",
            "](",
        ),
        *(
            "# ",
            "#",
            "## ",
            "- ",
            "+ ",
            "-",
            "---",
            "===",
            "1. ",
            "12) ",
            "1.",
            "> ",
            ": ",
            "    ",
            "\n",
            "\t",
            "x",
        ),
        *(
            "@name",
            "#12",
            "GH-12",
            "https://x.org",
            "www.x.org",
            "a@x.org",
            ":100:",
            ":+1:",
            "a:x:b",
            "10:15:30",
        ),
    ]
)
any_text = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])), st.lists(odd_parts, max_size=6).map("".join)
).filter(lambda text: plain(text).replace("\u200b", "").strip())


@given(any_text)
def test_any_text_is_read_as_it_stands_and_nothing_else_comes_of_it(text: str) -> None:
    made, like = everywhere(text), everywhere("x")
    rendered(made)
    assert form(made) == form(like)
    words = " ".join(plain(text).split()).replace("\u200b", "")
    assert visible(made) == [told.replace("x", words) for told in visible(like)]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("__init__.py of update_tag", r"\_\_init\_\_.py of update_tag"),
        ("# no heading", r"\# no heading"),
        ("12. no list", r"12\. no list"),
        ("3.50 s of 2", "3.50 s of 2"),
        ("-4.0 %", "-4.0 %"),
        ("@name, see #12", "@&#8203;name, see #&#8203;12"),
        ("https://x.org", "https:&#8203;//x.org"),
        ("at 10:15:30", "at 10:15:30"),
    ],
)
def test_only_what_would_be_something_else_is_escaped(text: str, told: str) -> None:
    assert render.escape(text) == told


def test_a_command_with_backquotes_is_copied_as_it_stands(tmp_path: Path) -> None:
    recording = measured(tmp_path / "a `` b")
    made = markdown(recording.run("interrupted"))
    command = f"swapbench run --resume '{recording.folder}'"
    assert f"Resume with ``` {command} ```" in made
    assert any(told.endswith(f"Resume with {command}") for told in visible(made))


def test_what_decides_has_headings_and_the_rest_is_folded() -> None:
    table = Table("Figures | all", "what", (("A",),), (((Cell("load"), Cell("3.0")),),), legend="seconds")
    words = Lines("Words", (Line("who", "me"),))
    shown = [section("a", "", words, table, decides=True), section("b", "More", Lines("More", words.lines))]
    assert render.to_markdown("## A", shown) == (
        "## A\n\n### Words\n\n- **who**: me\n\n"
        "### Figures \\| all\n\n| what | A |\n| --- | ---: |\n| load | 3.0 |\n\nseconds\n\n"
        "<details><summary>More</summary>\n\n- **who**: me\n\n</details>\n"
    )


@settings(max_examples=25)
@given(made=st.lists(swaps, max_size=8))
def test_no_run_is_too_odd_for_a_comment(
    tmp_path_factory: pytest.TempPathFactory, made: list[dict[str, Any]]
) -> None:
    recording = Recording(tmp_path_factory.mktemp("run"))
    for swap in made:
        recording.swap(**swap)
    comment(recording.run("interrupted"))


def test_each_headline_stands_under_its_own_figure(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up", {"load": 3.0}, first_token_s=0.5)
    recording.swap(0, "down", {"load": 1.0})
    assert "To the first token: up 3.50 s; whole swap: down 1.00 s**" in verdict(markdown(recording.run()))
