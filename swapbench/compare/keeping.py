"""What a baseline keeps of a run."""

from swapbench.base.errors import UsageError
from swapbench.compare.baselines import KeptRun, KeptScenario
from swapbench.compare.fingerprint import digest, fingerprint_of_history
from swapbench.findings.runs import by_cell, facts_of
from swapbench.findings.summary import summarise
from swapbench.findings.swaps import swaps_of
from swapbench.store import Run, experiment_of

# Clocks tell no more, and diffs stay readable.
_DIGITS = 6


def kept_run(run: Run) -> tuple[KeptRun, dict[str, str]]:
    """A run as a baseline keeps it, and what is behind its fingerprint.

    Raises:
        UsageError: it did not end well, or compares two arms: no history of one thing.
        ResultsError: run.json holds no experiment that this swapbench understands.
    """
    if run.info.part_of:
        raise UsageError(f"{run.folder}: is part of a {run.info.part_of}; a baseline keeps whole runs")
    if run.info.arms:
        raise UsageError(f"{run.folder}: has two arms; a baseline keeps runs of one thing")
    if run.info.status != "complete" or run.info.transcribed_from:
        state = "transcribed" if run.info.transcribed_from else run.info.status
        raise UsageError(f"{run.folder}: is {state}; a baseline keeps complete runs that were measured")
    aspects = fingerprint_of_history(run)
    cells, experiment = by_cell(run, experiment_of(run))
    swaps = swaps_of(cells)
    facts = facts_of(cells, experiment, swaps)
    summaries = [
        summarise(s, [swap for swap in swaps if swap.scenario == s.name], experiment, facts.claims)
        for s in experiment.scenario
    ]
    entry = KeptRun(
        run_id=facts.run_id,
        experiment=facts.experiment,
        started_at=facts.started_at,
        fingerprint=digest(aspects),
        versions=dict(facts.versions),
        scenarios={
            s.name: KeptScenario(
                figure=s.headline_is,
                n=s.headline.n,
                seconds=round(s.headline.point, _DIGITS),
                phases_s={p.phase: round(p.seconds.point, _DIGITS) for p in s.phases if p.seconds},
            )
            for s in summaries
            if s.headline is not None and s.headline.point > 0
        },
    )
    return entry, aspects
