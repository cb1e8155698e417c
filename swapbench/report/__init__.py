"""Findings in the forms that people and programs read. Nothing is computed here."""

from rich.console import Console

from swapbench.findings import Findings
from swapbench.report.json_document import to_json
from swapbench.report.markdown import to_markdown
from swapbench.report.terminal import make_console, print_report
from swapbench.report.tidy_csv import to_csv

__all__ = ["make_console", "print_report", "show", "to_csv", "to_json", "to_markdown"]


def show(findings: Findings, form: str, console: Console) -> None:
    """Write the findings to a console as `rich`, `md`, `csv` or `json`; nothing else is written to it."""
    if form == "rich":
        print_report(findings, console)
        return
    text = {"md": to_markdown, "csv": to_csv, "json": to_json}[form](findings)
    console.file.write(text)
    console.file.flush()
