"""The page in a real browser: quiet, alone, readable at every width, and open to everybody."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import pytest

from scripts.chromium import ADVICE, chromium
from tests.report.render.html.conftest import Made

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

DESKTOP: Final = (1280, 900)
TABLET: Final = (768, 1024)
PHONE: Final = (390, 844)


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = chromium()
    if path is None:
        # GitHub's machines have one: there its absence is no reason to look away.
        (pytest.fail if os.environ.get("GITHUB_ACTIONS") else pytest.skip)(ADVICE)
    with api.sync_playwright() as playwright:
        try:
            started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        except api.Error as error:
            pytest.skip(f"{path} does not start: {str(error).splitlines()[0]}")
        yield started
        started.close()


@pytest.fixture(scope="module", params=["full_page", "reference_page", "strategies_page", "comparison_page"])
def address(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    made: Made = request.getfixturevalue(request.param)
    path = tmp_path_factory.mktemp("browser") / "report.html"
    path.write_text(made.html, encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def full_address(full_page: Made, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("browser") / "full.html"
    path.write_text(full_page.html, encoding="utf-8")
    return path.as_uri()


def _open(browser: "Browser", address: str, size: tuple[int, int], **context: Any) -> "Page":
    viewport = {"width": size[0], "height": size[1]}
    page = browser.new_context(viewport=viewport, **context).new_page()  # type: ignore[arg-type]
    page.goto(address)
    return page


def test_the_console_stays_empty_and_nothing_is_asked_for(browser: "Browser", address: str) -> None:
    page = browser.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.mouse.move(400, 500)
    page.keyboard.press("Tab")
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [address]
    page.close()


@pytest.mark.parametrize("size", [DESKTOP, TABLET, PHONE], ids=["desktop", "tablet", "phone"])
def test_nothing_runs_over_the_edge_and_each_chart_is_seen_once(
    browser: "Browser", address: str, size: tuple[int, int]
) -> None:
    page = _open(browser, address, size)
    assert page.evaluate("document.documentElement.scrollWidth") == size[0]
    seen = page.evaluate(
        """[...document.querySelectorAll('figure')].filter(f => !f.closest('details.fold')).map(f =>
        [...f.querySelectorAll('svg')].filter(s => s.getBoundingClientRect().height > 20).length)"""
    )
    assert seen
    assert set(seen) == {1}
    page.context.close()


@pytest.mark.parametrize(
    ("scheme", "size"), [("light", DESKTOP), ("dark", PHONE)], ids=["light", "dark-phone"]
)
def test_axe_finds_nothing(browser: "Browser", address: str, scheme: str, size: tuple[int, int]) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    # The page's own policy would keep the checker out as it keeps everything out.
    page = _open(browser, address, size, color_scheme=scheme, bypass_csp=True)
    page.evaluate("for (const fold of document.querySelectorAll('details')) fold.open = true")
    # Drawings are hidden from assistive technology, and hold most of the page's elements.
    page.evaluate("for (const drawing of document.querySelectorAll('svg')) drawing.replaceChildren()")
    found = axe.Axe().run(page).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"]) for each in found] == []
    page.context.close()


def test_dark_is_dark_and_light_is_light(browser: "Browser", full_address: str) -> None:
    shades = {}
    for scheme in ("light", "dark"):
        page = _open(browser, full_address, DESKTOP, color_scheme=scheme)
        shades[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.context.close()
    assert shades == {"light": "rgb(251, 251, 249)", "dark": "rgb(16, 19, 22)"}


def test_it_can_be_read_without_javascript(browser: "Browser", full_address: str) -> None:
    page = _open(browser, full_address, PHONE, java_script_enabled=False)
    assert page.locator("h1").is_visible()
    assert page.locator("figure svg").first.count() == 1
    page.locator("details.figures, details.fold").first.locator("summary").click()
    page.context.close()


def test_a_mark_says_what_it_is_when_pointed_at(browser: "Browser", full_address: str) -> None:
    page = _open(browser, full_address, DESKTOP)
    mark = page.locator(".wide path[data-tip]").first
    mark.hover(force=True)
    assert page.locator("#tip").inner_text() == mark.get_attribute("data-tip")
    page.context.close()


def test_paper_has_every_side_and_no_link_list(browser: "Browser", full_address: str) -> None:
    page = _open(browser, full_address, DESKTOP)
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.context.close()


def test_the_keyboard_reaches_the_report_first_and_every_fold(browser: "Browser", full_address: str) -> None:
    page = _open(browser, full_address, DESKTOP)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the report"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    folds = page.locator("summary")
    folds.first.focus()
    page.keyboard.press("Enter")
    assert page.locator("details[open]").count() == 1
    page.context.close()
