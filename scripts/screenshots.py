"""Pictures for the README, taken of real runs: `make screenshots`.

Runs `quick` on mini models, and draws what a terminal of 100 columns shows of it: the live view while a model
loads, and the report. Figures of mini models say nothing about the real ones; the pictures show the views.

With `--page RUN`, photographs the HTML report of that run instead, light and dark; that takes a Chromium.
"""

import argparse
import io
import re
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console, RenderableType
from rich.text import Text

from scripts.chromium import ADVICE, chromium
from swapbench.cli.progress import course_of
from swapbench.cli.report import print_run
from swapbench.findings import analyse
from swapbench.findings.progress import RunProgress, Standing
from swapbench.report.forms import print_report
from swapbench.report.live import live_lines
from swapbench.run.arms import checkpoints_of
from swapbench.run.runner import Job, carry_out, new_job
from swapbench.spec.experiment import find, load
from swapbench.spec.overrides import sets
from swapbench.store import read
from swapbench.wire.events import Event, StepStarted
from swapbench.wire.swap import SwapFinished

IMAGES = Path(__file__).parent.parent / "docs" / "images"
WIDTH = 100
ROUNDS = 12
# What follows in a report is longer than a picture should be.
END = "Within the run"
# Of a page: verdict, headlines, and the first swap's phases.
PAGE_WIDTH, PAGE_END = 1080, "#swap-1"


class Photographer:
    """Keeps the view of the moment when the last model but one is loaded."""

    def __init__(self, job: Job) -> None:
        self._progress = RunProgress(course_of(job), time.monotonic())
        self._swaps_left = len(course_of(job).swaps)
        self.seen: Standing | None = None

    def on(self, event: Event) -> None:
        """Take note."""
        self._progress.on(event, time.monotonic())
        self._swaps_left -= isinstance(event, SwapFinished)
        if isinstance(event, StepStarted) and event.step == "load" and self._swaps_left == 2 * ROUNDS // 3:
            self.seen = self._progress.standing(time.monotonic())


def main() -> None:
    """Write what is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--page", metavar="RUN", type=Path, help="a run's folder")
    page = parser.parse_args().page
    if page is not None:
        photograph(page)
    else:
        draw()


def photograph(run: Path) -> None:
    """Write docs/images/page-light.png and docs/images/page-dark.png."""
    from playwright.sync_api import sync_playwright

    found = chromium()
    if found is None:
        sys.exit(ADVICE)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        html = Path(folder) / "page.html"
        print_run(run, "rich", strict=False, html=html)
        browser = playwright.chromium.launch(executable_path=found)
        for scheme in ("light", "dark"):
            page = browser.new_page(
                viewport={"width": PAGE_WIDTH, "height": 800}, color_scheme=scheme, device_scale_factor=1.5
            )
            page.goto(html.as_uri())
            end = page.locator(PAGE_END).bounding_box()
            height = 1600 if end is None else end["y"] - 24
            path = IMAGES / f"page-{scheme}.png"
            page.screenshot(
                path=path, full_page=True, clip={"x": 0, "y": 0, "width": PAGE_WIDTH, "height": height}
            )
            print(path)
        browser.close()


def draw() -> None:
    """Write docs/images/live.svg and docs/images/report.svg."""
    with tempfile.TemporaryDirectory() as folder:
        experiment, file = load(find("quick"), sets([f"rounds={ROUNDS}"])), find("quick")
        checkpoints = checkpoints_of(experiment, print)
        job = new_job(experiment, file, checkpoints, Path(folder), command=["swapbench", "run", "quick"])
        photographer = Photographer(job)
        carry_out(job, photographer)
        if photographer.seen is None:
            sys.exit("the run ended before there was anything to see")
        save("live", "swapbench run quick", live_lines(photographer.seen, WIDTH))
        console = canvas()
        print_report(analyse(read(job.writer.folder)), console)
        save("report", "swapbench report", beginning(console.export_text(styles=True)))


def beginning(report: str) -> Text:
    """The first sections of a report."""
    lines = report.splitlines()
    end = next(number for number, line in enumerate(lines) if END in line)
    return Text.from_ansi("\n".join(lines[1:end]).rstrip())


def canvas() -> Console:
    """A terminal that nobody sees."""
    return Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, highlight=False)


def save(name: str, title: str, shown: RenderableType) -> None:
    """Draw one thing."""
    console = canvas()
    console.print(shown)
    write(name, title, console)


def write(name: str, title: str, console: Console) -> None:
    """Write what a terminal shows, asking no other machine for a typeface.

    Ids that don't change keep the difference between two pictures small.
    """
    IMAGES.mkdir(exist_ok=True)
    path = IMAGES / f"{name}.svg"
    drawn = console.export_svg(title=title, unique_id=f"swapbench-{name}")
    path.write_text(re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL), encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
