"""Charts: valid by Vega-Lite's own schema, coloured by the page, left out of what is read aloud."""

import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from tests.report.render.html.conftest import Made
from tests.report.render.html.pages import compared, full, page_of, strategies


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Every specification that is drawn from now on."""
    specs: list[dict[str, Any]] = []

    def keep(spec: dict[str, Any], **_options: Any) -> str:
        specs.append(spec)
        return ""

    monkeypatch.setattr("vl_convert.vegalite_to_svg", keep)
    return specs


def test_every_chart_is_valid_vega_lite(drawn: list[dict[str, Any]], tmp_path: Path) -> None:
    runs = [full(tmp_path, run_id=f"run-{side}", rounds=3) for side in "ab"]
    page_of(runs[0])
    page_of(strategies(tmp_path))
    compared(runs)
    kinds = {json.dumps(_outline(spec)): spec for spec in drawn}
    schema = resources.files("altair") / "vegalite/v6/schema/vega-lite-schema.json"
    validator = Draft7Validator(json.loads(schema.read_text(encoding="utf-8")))
    assert len(kinds) >= 7
    for spec in kinds.values():
        assert [error.message[:200] for error in validator.iter_errors(spec)] == []


def _outline(spec: Any) -> Any:
    """A specification without its figures: charts of one kind have the same."""
    if isinstance(spec, dict):
        return {key: _outline(value) for key, value in spec.items() if key not in ("values", "sort")}
    return [_outline(value) for value in spec] if isinstance(spec, list) else type(spec).__name__


def _charts(made: Made) -> list[str]:
    return re.findall(r"<svg.*?</svg>", made.html, re.DOTALL)


def test_colours_are_the_pages_own_in_light_in_dark_and_on_paper(full_page: Made) -> None:
    used = set(re.findall(r'(?:fill|stroke)="([^"]+)"', "".join(_charts(full_page))))
    own = used - {"none", "transparent"}
    assert len(own) > 8
    assert all(colour.startswith("var(--") for colour in own), own
    style = full_page.html[full_page.html.index("<style>") : full_page.html.index("</style>")]
    for colour in own:
        assert style.count(f"{colour[4:-1]}: #") == 3, colour


def test_charts_are_left_out_of_what_is_read_aloud(full_page: Made) -> None:
    charts = _charts(full_page)
    assert len(charts) > 8
    for chart in charts:
        assert 'aria-hidden="true"' in chart.partition(">")[0]
        assert not re.search(r" (?:aria-label|role)=", chart)


def test_every_chart_says_what_it_shows_and_has_its_figures_as_a_table(full_page: Made) -> None:
    figures = re.findall(r"<figure.*?</figure>", full_page.html, re.DOTALL)
    assert len(figures) >= 8
    for figure in figures:
        assert re.search(r'role="img" aria-label="Chart: [^"]{20,}"', figure)
        assert "<table" in figure
        assert "<figcaption" in figure


def test_phases_of_no_length_are_drawn_all_the_same(reference_page: Made) -> None:
    assert "drain: 0 s, from 0 s" in reference_page.parsed.tips
