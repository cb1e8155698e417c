"""A run by the history of its kind: each scenario's figure, and where it was to fall were nothing changed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from swapbench.base.phases import HeadlineFigure
from swapbench.compare.baselines import KeptRun
from swapbench.compare.change import Change, Verdict
from swapbench.findings.runs import by_cell
from swapbench.findings.summary import headline
from swapbench.findings.swaps import swaps_of
from swapbench.stats.estimate import Estimate, estimate
from swapbench.stats.prediction import Prediction, predict
from swapbench.stats.ranks import CONFIDENCE, Shift, holm
from swapbench.store import Run, experiment_of


@dataclass(frozen=True)
class Expected:
    """A scenario of a run beside what its history lets expect; `detectable` as Prediction has it."""

    figure: HeadlineFigure
    change: Change
    detectable: float | None


def against_history(run: Run, alike: Sequence[KeptRun], margin: float) -> Mapping[str, Expected]:
    """Every scenario of a run, by the runs of the same fingerprint; all are held to one level (Holm).

    Raises:
        ResultsError: run.json holds no experiment that this swapbench understands.
    """
    cells, experiment = by_cell(run, experiment_of(run))
    swaps = [swap for swap in swaps_of(cells) if swap.counted]
    measured = {
        s.name: headline([swap for swap in swaps if swap.scenario == s.name]) for s in experiment.scenario
    }
    past = {
        name: [
            kept.scenarios[name].seconds
            for kept in alike
            if name in kept.scenarios and kept.scenarios[name].figure == figure
        ]
        for name, (_, figure) in measured.items()
    }
    predictions = {
        name: predict(past[name], value.point, margin)
        for name, (value, _) in measured.items()
        if value is not None and value.point > 0
    }
    known = {name: prediction for name, prediction in predictions.items() if prediction is not None}
    adjusted = dict(zip(known, holm([prediction.p for prediction in known.values()]), strict=True))
    return {
        name: Expected(
            figure,
            _change(figure, value, past[name], known.get(name), adjusted.get(name), margin),
            known[name].detectable if name in known else None,
        )
        for name, (value, figure) in measured.items()
    }


def _change(
    figure: HeadlineFigure,
    value: Estimate | None,
    past: Sequence[float],
    prediction: Prediction | None,
    p: float | None,
    margin: float,
) -> Change:
    ratio = None if value is None else _times_expected(value.point, past, prediction)
    return Change(
        figure=figure,
        unit="s",
        a=estimate(past),
        b=value,
        ratio=ratio,
        verdict=Verdict.NOT_MEASURED if value is None else _verdict(ratio, p, margin),
        most=None if prediction is None or ratio is None else ratio.high - 1,
        p=p,
    )


def _verdict(ratio: Shift | None, p: float | None, margin: float) -> Verdict:
    if ratio is None or p is None:
        return Verdict.INCONCLUSIVE
    if p <= 1 - CONFIDENCE:
        return Verdict.SLOWER
    return Verdict.NO_WORSE if ratio.high <= 1 + margin else Verdict.INCONCLUSIVE


def _times_expected(seconds: float, past: Sequence[float], prediction: Prediction | None) -> Shift | None:
    if prediction is not None:
        return Shift(
            seconds / prediction.centre,
            seconds / prediction.high,
            seconds / prediction.low,
            prediction.runs,
        )
    if not past:
        return None
    centre = math.exp(sum(map(math.log, past)) / len(past))
    return Shift(seconds / centre, 0.0, math.inf, len(past))
