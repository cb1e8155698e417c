"""A run in one line: the first thing that a reader wants to know."""

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from swapbench.analysis.figures import counted
from swapbench.analysis.findings import Findings
from swapbench.analysis.verdict import Outcome

Grade = Literal["good", "bad", "doubt"]


@dataclass(frozen=True)
class Overall:
    """How a run came out; `because` are the reasons of what is not good."""

    grade: Grade
    text: str
    because: tuple[str, ...]


def overall(findings: Findings) -> Overall:
    """The gravest thing found, in words; in the order of `exit_code`."""
    counts = findings.counts
    missed = tuple(f"{v.title}: {v.reason}" for v in findings.verdicts if v.outcome is Outcome.FAIL)
    failed_swaps = counts.failed + counts.rolled_back + counts.refused
    if failed_swaps:
        return Overall("bad", f"{counted(failed_swaps, 'swap')} failed", missed)
    if findings.facts.status == "incomplete":
        return Overall("bad", "The run is not complete", (findings.facts.incomplete,))
    if missed:
        criteria = "1 criterion" if len(missed) == 1 else f"{len(missed)} criteria"
        return Overall("bad", f"{criteria} not met", missed)
    return _undecided(findings)


def _undecided(findings: Findings) -> Overall:
    if findings.facts.status != "complete":
        return Overall("doubt", "The run is not complete", (findings.facts.incomplete,))
    declared = [v for v in findings.verdicts if v.declared]
    met = [v for v in declared if v.outcome is Outcome.PASS]
    symptoms = tuple(symptom.text for symptom in findings.symptoms)
    if not findings.counts.counted:
        return Overall("doubt", "No swap counts", ())
    if symptoms:
        return Overall("doubt", f"{counted(len(symptoms), 'symptom')} of known faults", symptoms)
    open_ = [v for v in declared if v.outcome is not Outcome.PASS]
    if not declared:
        return Overall("good", "Every swap succeeded; no criterion was declared", ())
    if not open_:
        return Overall("good", "Every criterion is met", ())
    rest = ", ".join(f"{n} {outcome}" for outcome, n in Counter(str(v.outcome) for v in open_).items())
    because = [f"{v.title}: {v.reason}" for v in open_]
    reasons = {v.reason for v in open_}
    if len(reasons) == 1 < len(open_):
        because = list(reasons)
    return Overall("doubt", f"{len(met)} of {len(declared)} criteria met, {rest}", tuple(because))
