"""Pages that several tests look at, made once."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from swapbench.store import Run, read
from tests.report.render.html.pages import Parsed, compared, full, page_of, parse, strategies

REFERENCE = Path(__file__).parents[4] / "results" / "reference" / "exp012-m4pro-24gb"


@dataclass(frozen=True)
class Made:
    """A page, as it is and taken apart, with the runs that it is about."""

    runs: tuple[Run, ...]
    html: str
    parsed: Parsed


def _made(*runs: Run, html: str) -> Made:
    return Made(runs, html, parse(html))


@pytest.fixture(scope="session")
def full_page(tmp_path_factory: pytest.TempPathFactory) -> Made:
    run = full(tmp_path_factory.mktemp("full"))
    return _made(run, html=page_of(run))


@pytest.fixture(scope="session")
def reference_page() -> Made:
    run = read(REFERENCE)
    return _made(run, html=page_of(run))


@pytest.fixture(scope="session")
def strategies_page(tmp_path_factory: pytest.TempPathFactory) -> Made:
    run = strategies(tmp_path_factory.mktemp("strategies"))
    return _made(run, html=page_of(run))


@pytest.fixture(scope="session")
def comparison_page(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("comparison")
    runs = [full(folder, run_id=f"run-{side}", rounds=2) for side in "ab"]
    return _made(*runs, html=compared(runs))
