"""Runs with everything that a page can show, and a page taken apart."""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

from swapbench.compare.comparison import Side, compare_runs
from swapbench.findings import analyse
from swapbench.findings.chart_data import pictures_of
from swapbench.machine.environment import Limits
from swapbench.report.forms import comparison_to_html, run_to_html
from swapbench.report.sections import RunView
from swapbench.spec.experiment import Source
from swapbench.store import Run, raw_files
from tests.findings.recording import LARGE_BYTES, MACHINE, SMALL_BYTES, Recording, reading
from tests.machine.test_environment import limits

UP = {"drain": 0.2, "unload": 0.1, "load": 3.0, "reinit": 0.15}
MIB = 1 << 20


def full(folder: Path, *, rounds: int = 6, **changes: object) -> Run:
    """Two scenarios with spans, memory samples, settled memory and first tokens; one swap failed."""
    recording = Recording(folder, rounds=rounds, **changes)  # type: ignore[arg-type]
    for number in range(rounds):
        for scenario, held in (("up", LARGE_BYTES), ("down", SMALL_BYTES)):
            recording.sample(number, scenario, recording._clock_s + 0.15, held // 2)
            recording.sample(number, scenario, recording._clock_s + 1.0, held * 2)
            recording.swap(
                number,
                scenario,
                {**UP, "load": 3.0 + number / 10},
                spans={"load/weights": 2.0, "load/read": 1.8, "load/tokenizer": 0.9},
                first_token_s=0.5,
                active=[100] * 4 + [10] + [held] * 4,
                settled=reading(held + number * 20 * MIB),
                loaded_bytes=held,
                load_gb_per_s=2.0,
                resident_before=1.0,
            )
    recording.failed_swap(rounds, "up")
    return recording.run(command=("swapbench", "run", "up and down.toml", "--rounds", str(rounds)))


def view(run: Run, known: Limits | None = None) -> RunView:
    """The run as its page needs it."""
    findings = analyse(run, known)
    return RunView(findings, pictures_of(run, findings), raw_files(run.folder))


def page_of(run: Run) -> str:
    """Its page, with limits of the machine known."""
    return run_to_html(view(run, limits(machine=MACHINE)), "swapbench report it")


def compared(runs: Sequence[Run]) -> str:
    """The page of all runs beside the first."""
    sides = [Side(run.info.run_id, run) for run in runs]
    comparisons = [compare_runs(sides[0], side) for side in sides[1:]]
    return comparison_to_html(comparisons, [view(run) for run in runs], "swapbench compare a b")


def strategies(folder: Path) -> Run:
    """A run of two strategies."""
    recording = Recording(folder, source=Source.HUB, strategy=["stock", "slab"], rounds=3)
    for number in range(3):
        for strategy, load_s in (("stock", 3.0), ("slab", 1.0)):
            recording.swap(
                number,
                "up",
                {"load": load_s + number / 10},
                strategy=strategy,
                loader=strategy,
                spans={"load/weights": load_s / 2},
            )
    return recording.run()


@dataclass
class Parsed(HTMLParser):
    """A page taken apart: ids, headings, links, what refers to something outside, and the text."""

    ids: list[str] = field(default_factory=list)
    headings: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    downloads: dict[str, str] = field(default_factory=dict)
    resources: list[str] = field(default_factory=list)
    labelled_by: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    tips: list[str] = field(default_factory=list)
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__()
        self._inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        self._inside.append(tag)
        if tag in ("h1", "h2", "h3"):
            self.headings.append("")
        self.ids += [given["id"]] if "id" in given else []
        self.labelled_by += given.get("aria-labelledby", "").split()
        self.tips += [given["data-tip"]] if "data-tip" in given else []
        if tag == "a" and "download" in given:
            self.downloads[given["download"]] = given["href"]
        elif tag == "a":
            self.links.append(given["href"])
        else:
            self.resources += [given[name] for name in ("src", "href", "xlink:href", "data") if name in given]

    def handle_endtag(self, tag: str) -> None:
        while self._inside and self._inside.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._inside and self._inside[-1] in ("h1", "h2", "h3"):
            self.headings[-1] += data
        if not set(self._inside) & {"script", "style"}:
            self.text += data


def parse(page: str) -> Parsed:
    """The page, taken apart."""
    parsed = Parsed()
    parsed.feed(page)
    parsed.close()
    return parsed


def unpacked(href: str) -> bytes:
    """What a download holds."""
    found = re.fullmatch(r"data:[\w/+]+;base64,([A-Za-z0-9+/=]*)", href)
    assert found is not None
    return base64.b64decode(found[1])
