"""Whatever state a run is in, a page can be made of it."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.findings.recording import Recording
from tests.report.render.html.pages import page_of, parse
from tests.report.test_any_run import swaps


# Drawing takes its time; the other forms of report are tried with many more.
@settings(max_examples=8)
@given(
    made=st.lists(swaps, max_size=6),
    status=st.sampled_from(["running", "complete", "incomplete", "interrupted"]),
)
def test_no_run_is_too_odd_for_a_page(
    tmp_path_factory: pytest.TempPathFactory, made: list[dict[str, Any]], status: str
) -> None:
    recording = Recording(tmp_path_factory.mktemp("run"))
    for swap in made:
        recording.swap(**swap)
    parsed = parse(page_of(recording.run(status)))
    assert "Environment and warnings" in parsed.headings
    assert "NaN" not in parsed.text
    assert "nan" not in parsed.text.split()
