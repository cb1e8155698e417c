"""The page as a file: what is in it, and what it never asks for."""

import gzip
import random
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from swapbench.findings.chart_data import dots_of
from swapbench.findings.memory import growth_of
from swapbench.findings.swaps import swaps_of
from swapbench.report.forms import run_to_html, to_json
from swapbench.report.render.html import downloads
from swapbench.report.sections import RunView
from swapbench.spec.experiment import Source
from tests.findings.recording import Recording
from tests.report.render.html.conftest import Made
from tests.report.render.html.pages import compared, full, page_of, parse, unpacked, view

# Charts are drawn for wide columns, tablets and phones.
WIDTHS = 3

PAGES = ["full_page", "reference_page", "strategies_page", "comparison_page"]


@pytest.fixture(params=PAGES)
def any_page(request: pytest.FixtureRequest) -> Made:
    made: Made = request.getfixturevalue(request.param)
    return made


def test_the_verdict_comes_before_every_figure(full_page: Made) -> None:
    text = full_page.parsed.text
    assert (
        text.index("1 swap failed")
        < text.index("to the first token")
        < text.index("3.95\N{NO-BREAK SPACE}s to")
    )


def test_what_is_to_be_copied_has_spaces_that_a_shell_knows(tmp_path: Path) -> None:
    command = "swapbench run up-and-down.toml --set 'workload.title=in 3 s'"
    run = full(tmp_path)
    info = run.info.model_copy(update={"command": shlex.split(command)})
    assert command in parse(page_of(replace(run, info=info))).text


def test_a_full_run_has_every_section_in_the_order_in_which_it_is_read(full_page: Made) -> None:
    wanted = [
        "What went wrong",
        "The swap",
        "Over the rounds",
        "What was moved, and who waited",
        "What the machine could do",
        "Memory",
        "Leaks",
        "Environment and warnings",
        "Criteria",
        "How to repeat it",
        "Data",
    ]
    assert [heading for heading in full_page.parsed.headings if heading in wanted] == wanted


def test_sections_that_have_nothing_are_left_out(reference_page: Made) -> None:
    headings = reference_page.parsed.headings
    assert "The swap" in headings
    for absent in ("Memory", "Strategies", "What went wrong", "What the machine could do"):
        assert absent not in headings


def test_a_page_refers_to_nothing_outside_itself(any_page: Made) -> None:
    parsed = any_page.parsed
    assert all(resource.startswith(("data:", "#")) for resource in parsed.resources)
    assert all(link.startswith("#") and link[1:] in parsed.ids for link in parsed.links)
    # The name of a language, which nobody looks up, is all there is of addresses.
    assert set(re.findall(r"https?://[^\s\"'<>)]+", any_page.html)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"@import|url\((?!#)", any_page.html)


def test_the_browser_is_told_to_fetch_nothing(any_page: Made) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', any_page.html)
    assert policy is not None
    assert policy[1].startswith("default-src &#39;none&#39;")
    assert "unsafe" not in policy[1]
    # What the policy forbids would silently be without effect.
    assert not re.search(r"<[^>]* (?:style|on\w+)=", any_page.html)


def test_every_id_is_there_once_and_every_label_is_found(any_page: Made) -> None:
    ids = any_page.parsed.ids
    assert len(set(ids)) == len(ids)
    assert set(any_page.parsed.labelled_by) <= set(ids)


def test_a_page_stays_below_5_mb(any_page: Made) -> None:
    assert len(any_page.html.encode("utf-8")) < 5_000_000


def long_view(folder: Path, swaps: int) -> RunView:
    """A run with the pictures of one so long; to have that analysed would take the tests a while."""
    short = view(full(folder))
    known = swaps_of(full(folder, run_id="run-2"))
    rng = random.Random(1)
    scenarios = ("up", "down")
    made = [
        replace(
            known[i % 2],
            index=i,
            round=i // 2,
            scenario=scenarios[i % 2],
            figures={"total_s": 3 + rng.random()},
        )
        for i in range(swaps)
    ]
    dots = tuple(dots_of(name, [swap for swap in made if swap.scenario == name], ()) for name in scenarios)
    growth = growth_of(made, short.findings.leaks, 1 << 20)
    assert len(growth) == 4
    assert {len(one.points) for one in growth} == {swaps}
    files = dict.fromkeys(("swaps.csv", "phases.csv", "memory.csv"), rng.randbytes(1_400_000))
    return replace(short, pictures=replace(short.pictures, dots=dots, growth=growth), files=files)


def test_the_page_of_a_long_run_stays_below_5_mb_and_says_what_is_drawn(tmp_path: Path) -> None:
    html = run_to_html(long_view(tmp_path, 5000))
    assert len(html.encode("utf-8")) < 5_000_000
    parsed = parse(html)
    drawn = re.findall(r"Of (\d+) swaps (\d+) are drawn: the first", parsed.text)
    assert [whole for whole, _ in drawn] == ["2500"] * 2 + ["5000"] * 4
    assert all(200 <= int(shown) <= 500 for _, shown in drawn)
    assert parsed.text.count("swaps that are drawn; the rest is in swaps.csv") == len(drawn)
    assert sum(tip.startswith("round ") for tip in parsed.tips) == int(drawn[0][1]) + int(drawn[1][1])


def test_where_charts_take_much_there_is_less_room_for_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vl_convert.vegalite_to_svg", lambda _spec, **_options: "x" * 160_000)
    made = view(full(tmp_path))
    files = {name: random.Random(1).randbytes(600_000) for name in ("swaps.csv", "phases.csv", "memory.csv")}
    html = run_to_html(replace(made, files=files))
    assert 4_000_000 < len(html.encode("utf-8")) < 5_000_000
    parsed = parse(html)
    assert set(parsed.downloads) == {"findings.json", "swaps.csv", "phases.csv.gz"}
    assert "too large for this page" in parsed.text


def test_of_many_failed_swaps_the_first_are_listed_and_the_rest_is_counted(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    for number in range(230):
        recording.failed_swap(number, "up", error=f"failure {number}.")
    text = parse(page_of(recording.run())).text
    assert "failure 199." in text
    assert "failure 200." not in text
    assert text.count("30 more are in swaps.csv") == 2


def test_downloads_hold_the_tables_of_the_run_to_the_byte(full_page: Made) -> None:
    found, folder = full_page.parsed.downloads, full_page.runs[0].folder
    for name in ("swaps.csv", "phases.csv", "memory.csv", "run.json"):
        assert unpacked(found[name]) == (folder / name).read_bytes()


def test_the_findings_are_a_download_too(reference_page: Made) -> None:
    held = unpacked(reference_page.parsed.downloads["findings.json"]).decode("utf-8")
    assert held == to_json(view(reference_page.runs[0]).findings)


def test_a_large_table_is_compressed_and_a_huge_one_only_named() -> None:
    huge = random.Random(1).randbytes(3_000_000)
    large = b"t_s,bytes\n" + b"1,2\n" * 500_000
    files = {"swaps.csv": b"a\n", "phases.csv": large, "memory.csv": huge}
    found = {download.name: download for download in downloads(files, "results/run")}
    assert unpacked(found["swaps.csv"].href) == b"a\n"
    assert gzip.decompress(unpacked(found["phases.csv.gz"].href)) == large
    assert found["memory.csv"].href == ""
    assert "too large for this page, it is in results/run" in found["memory.csv"].says


def test_every_swap_is_a_dot_and_a_row_of_the_table_beside_it(full_page: Made) -> None:
    for number in range(6):
        seconds = 3.95 + number / 10
        assert full_page.parsed.tips.count(f"round {number}: {seconds:.2f} s") == 2
        assert f"{seconds:.3f}" in full_page.parsed.text


def test_the_exact_command_is_there_quoted_for_a_shell(full_page: Made) -> None:
    assert "swapbench run 'up and down.toml' --rounds 6" in full_page.parsed.text


def test_a_run_without_a_command_names_its_experiment(reference_page: Made) -> None:
    assert "swapbench run exp012" in reference_page.parsed.text


def test_a_transcribed_run_says_so_before_its_figures(reference_page: Made) -> None:
    text = reference_page.parsed.text
    assert text.index("Transcribed from") < text.index("3.30")
    assert "starts were not recorded" in text


def test_mini_models_make_no_claim(tmp_path: Path) -> None:
    recording = Recording(tmp_path, source=Source.MINI)
    recording.swap(0, "up")
    text = parse(page_of(recording.run())).text
    assert "Mini models: these times say nothing about the real ones" in text
    assert " under 30 s\n" not in text


def test_whatever_a_run_says_is_text(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&"
    recording = Recording(tmp_path, title=evil)
    recording.swap(0, "up", spans={f"load/{evil[:8]}": 1.0})
    recording.failed_swap(1, "up", error=evil)
    page = page_of(recording.run(command=("swapbench", evil), notes=(evil,)))
    parsed = parse(page)
    assert parsed.tags.count("script") == 1
    assert "img" not in parsed.tags
    assert parsed.headings[0] == evil
    assert f"load/{evil[:8]}: 1.00 s, from 0.050 s" in parsed.tips


def test_a_run_without_a_swap_has_a_page(tmp_path: Path) -> None:
    text = parse(page_of(Recording(tmp_path).run("running"))).text
    assert "The run is not complete" in text
    assert "0 of 6 swaps done" in text


def test_of_several_ranks_each_has_its_share_on_the_page(tmp_path: Path) -> None:
    recording = Recording(tmp_path, target="sharded")
    for number in range(2):
        recording.ranks(number, "up", (2.0, 0.5), (2.5, 0.0))
        recording.swap(number, "up", {"load": 2.5})
    text = parse(page_of(recording.run())).text
    assert "rank 0" in text
    assert "rank 1" in text


def test_strategies_come_with_a_ladder_and_every_swap_of_each(strategies_page: Made) -> None:
    parsed = strategies_page.parsed
    assert parsed.text.index("fastest: slab") < parsed.text.index("What each does and costs")
    for strategy, seconds in (("stock", "3.10"), ("slab", "1.10")):
        # Once in the wide drawing, once in the one for phones.
        assert parsed.tips.count(f"{strategy}, round 1: {seconds} s") == WIDTHS
    assert {"up (stock)", "up (slab)"} <= set(parsed.headings)


def test_a_comparison_has_what_changed_and_every_side_by_itself(comparison_page: Made) -> None:
    parsed = comparison_page.parsed
    assert parsed.headings[1:3] == ["What changed", "B against A"]
    assert {"A-swaps.csv", "B-swaps.csv"} <= set(parsed.downloads)
    assert "swapbench compare a b" in parsed.text
    assert "Side B: run-b" in parsed.text


def test_of_three_runs_each_is_compared_with_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vl_convert.vegalite_to_svg", lambda _spec, **_options: "")
    runs = [full(tmp_path, run_id=f"run-{side}", rounds=1) for side in "abc"]
    parsed = parse(compared(runs))
    assert {"What changed: run-b", "What changed: run-c"} <= set(parsed.headings)
    assert len(set(parsed.ids)) == len(parsed.ids)
    assert "C-swaps.csv" in parsed.downloads
