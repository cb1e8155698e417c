"""A run in one line: the first thing that a reader wants to know."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from swapbench.base.errors import Exit
from swapbench.base.figures import counted
from swapbench.findings.findings import Findings, exit_code
from swapbench.findings.verdict import CriterionOutcome, CriterionVerdict

Grade = Literal["good", "bad", "doubt"]

GRADES: Final[dict[Exit, Grade]] = {
    Exit.FAILED: "bad",
    Exit.REGRESSION: "bad",
    Exit.LEAK: "bad",
    Exit.TARGET_MISSED: "bad",
    Exit.INCONCLUSIVE: "doubt",
    Exit.OK: "good",
}


@dataclass(frozen=True)
class Overall:
    """How a run came out; `because` are the reasons of what is not good."""

    grade: Grade
    text: str
    because: tuple[str, ...] = ()


def outcome(findings: Findings) -> Exit:
    """As the strict exit code says it; where nothing is demanded, what all are held to has to be settled."""
    code = exit_code(findings, strict=True)
    demanded = any(verdict.declared for verdict in findings.verdicts)
    settled = not any(verdict.outcome is CriterionOutcome.INCONCLUSIVE for verdict in findings.verdicts)
    return Exit.INCONCLUSIVE if code is Exit.OK and not demanded and not settled else code


def overall(findings: Findings) -> Overall:
    """The gravest thing found, in words, in the order of `exit_code`; and why, where it is not good."""
    text, because = _gravest(findings) or _in_doubt(findings) or _met(findings)
    return Overall(GRADES[outcome(findings)], text, because)


_Found = tuple[str, tuple[str, ...]]


def _gravest(findings: Findings) -> _Found | None:
    """What fails a run; None where nothing does."""
    counts, facts = findings.counts, findings.facts
    missed = tuple(f"{v.title}: {v.reason}" for v in findings.verdicts if v.outcome is CriterionOutcome.FAIL)
    lost = {"failed": counts.failed, "rolled back": counts.rolled_back, "refused": counts.refused}
    if any(lost.values()):
        (how, number), *others = ((how, number) for how, number in lost.items() if number)
        rest = (f"{n} {other}" for other, n in others)
        return ", ".join((f"{counted(number, 'swap')} {how}", *rest)), missed
    if facts.status == "incomplete":
        return "The run is not complete", (facts.incomplete,)
    if findings.unanswered_requests:
        return f"{counted(findings.unanswered_requests, 'request')} never answered", missed
    if missed:
        return "1 criterion not met" if len(missed) == 1 else f"{len(missed)} criteria not met", missed
    return None if facts.status == "complete" else ("The run is not complete", (facts.incomplete,))


def _in_doubt(findings: Findings) -> _Found | None:
    """What keeps a run in which nothing failed from being good; None where nothing does."""
    if not findings.counts.counted:
        return "No swap counts", ()
    symptoms = tuple(symptom.text for symptom in findings.symptoms)
    if symptoms:
        return f"{counted(len(symptoms), 'symptom')} of known faults", symptoms
    declared = [verdict for verdict in findings.verdicts if verdict.declared]
    if not declared:
        return "Every swap succeeded; no criterion was declared", _reasons(_open(findings.verdicts))
    if any(verdict.outcome is CriterionOutcome.INCONCLUSIVE for verdict in declared):
        return _so_many(declared), _reasons(_open(declared))
    if findings.counts.invalid:
        return f"{counted(findings.counts.invalid, 'swap')} left out as invalid", ()
    return None


def _met(findings: Findings) -> _Found:
    """Of a run that is good, what was asked of it; and what of that which every run is held to is open."""
    declared = [verdict for verdict in findings.verdicts if verdict.declared]
    open_ = _open(findings.verdicts)
    if not open_:
        return "Every criterion is met", ()
    unjudged = [verdict for verdict in declared if verdict.outcome is CriterionOutcome.NOT_JUDGED]
    text = "Every declared criterion is met"
    if len(unjudged) == len(declared):
        text = "Every swap succeeded; no criterion was judged"
    elif unjudged:
        text = _so_many(declared)
    undecided = [verdict.title for verdict in open_ if verdict.outcome is CriterionOutcome.INCONCLUSIVE]
    return text + "".join(f"; inconclusive: {title}" for title in undecided), _reasons(open_)


def _open(verdicts: Sequence[CriterionVerdict]) -> list[CriterionVerdict]:
    return [verdict for verdict in verdicts if verdict.outcome is not CriterionOutcome.PASS]


def _so_many(declared: Sequence[CriterionVerdict]) -> str:
    """`1 of 2 criteria met, 1 not judged`."""
    open_ = Counter(str(verdict.outcome) for verdict in _open(declared))
    rest = ", ".join(f"{n} {outcome}" for outcome, n in open_.items())
    return f"{len(declared) - open_.total()} of {len(declared)} criteria met, {rest}"


def _reasons(open_: Sequence[CriterionVerdict]) -> tuple[str, ...]:
    """What is true of all is said once."""
    reasons = {verdict.reason for verdict in open_}
    if len(reasons) == 1 < len(open_):
        return tuple(reasons)
    return tuple(f"{verdict.title}: {verdict.reason}" for verdict in open_)
