"""Pictures of a result: learning curves, heat maps of final scores, charts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from purerl.figures import curves as drawing
from purerl.figures import heatmap, plotting, statistics
from purerl.figures.labels import Factor, factors, labels
from purerl.figures.page import Chart
from purerl.run.points import separated, whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from purerl.run.result import SweepResult

_IN_ONE_PICTURE = 12  # curves; more of them are drawn in other ways
# Measures of which less is better: a logarithmic axis may help, and 0 is the optimum.
_ERRORS = ("error", "regret", "loss")


def figure(
    result: "SweepResult", name: str, optimum: float | None, options: dict[str, Any]
) -> "Figure":
    """The curves of one measure, or a heat map. Arguments as for
    :meth:`purerl.SweepResult.figure`."""
    words = name.replace("_", " ")
    options = {"title": result.label} | options
    varied = factors(result.configurations)
    many = len(result.configurations) > _IN_ONE_PICTURE
    if many and _is_grid(varied, len(result.configurations)):
        return _heat_map(result, name, varied, {"label": f"{words}, final IQM"} | options)
    curves = _by_label(result, name)
    steps, xlabel = _across(result, name)
    optimum = _optimum(result, name) if optimum is None else optimum
    reference = None if optimum is None else (optimum, "optimum")
    options = {
        "xlabel": xlabel,
        "ylabel": words,
        "log": _log(result, name),
        "reference": reference,
    } | options
    if many:
        return drawing.small_multiples_figure(curves, steps, **options)
    options = {"styles": _styles(result, varied)} | options
    return drawing.learning_curves_figure(curves, steps, **options)


def chart(result: "SweepResult", name: str) -> Chart:
    """The curves of one measure for a page, up to 12 of them with their intervals."""
    curves = _by_label(result, name)
    few = len(curves) <= _IN_ONE_PICTURE
    bands = {k: drawing.bootstrap_band(values, intervals=few) for k, values in curves.items()}
    optimum = _optimum(result, name)
    steps, xlabel = _across(result, name)
    return Chart(
        name=name,
        note=drawing.about_bands(statistics.iqm, list(curves.values())) if few else "IQM",
        steps=steps,
        xlabel=xlabel,
        bands={drawing.with_seeds(k, curves[k], band): band for k, band in bands.items()},
        log=_log(result, name),
        reference=None if optimum is None else (optimum, "optimum"),
        styles=_styles(result, factors(result.configurations)),
    )


def _by_label(result, name):
    """The curves of a measure, ``{label: [N, points]}``."""
    curves = separated(result.curves, 3)[name].astype(np.float64)
    return dict(zip(labels(result.configurations), curves, strict=True))


def _across(result, name):
    """The steps at which the points of a measure are drawn, and their label."""
    steps = result.steps[whole(name)]
    if len(set(result.warm_ups)) > 1:  # one axis cannot count them all
        return steps, "environment steps after the warm-up"
    return steps + max(result.warm_ups, default=0), "environment steps"


def _log(result, name):
    error = name.endswith(_ERRORS)
    return drawing.log_axes(result.curves[name], _across(result, name)[0]) if error else ""


def _styles(result, varied):
    """Color and line style of each configuration, where two factors vary."""
    if not _is_grid(varied, len(result.configurations)):
        return None
    color, dash = sorted(varied, key=lambda factor: -len(factor.texts))
    if len(color.texts) > len(plotting.COLORS) or len(dash.texts) > len(plotting.DASHES):
        return None
    return list(zip(color.index, dash.index, strict=True))


def _heat_map(result, name, varied, options):
    rows, columns = varied
    scores = np.full((len(rows.texts), len(columns.texts)), np.nan)
    notes = [[""] * len(columns.texts) for _ in rows.texts]
    for c in range(len(result.configurations)):
        row, column = rows.index[c], columns.index[c]
        interval = result.interval(name, c)
        scores[row, column] = np.nan if interval is None else interval.point
        failed = sum(failure["configuration"] == c for failure in result.failures)
        notes[row][column] = f"{failed} failed" if failed else ""
    return heatmap.heat_map_figure(
        scores,
        rows.texts,
        columns.texts,
        row_name=rows.name.replace("_", " "),
        column_name=columns.name.replace("_", " "),
        notes=notes,
        **options,
    )


def _optimum(result, name):
    """The optimum of a measure of value, beside which its regret is known."""
    if name not in ("policy_value", "policy_gain") or "policy_regret" not in result.curves:
        return None
    best = result.curves[name] + result.curves["policy_regret"]
    best = best[np.isfinite(best)].astype(np.float64)
    if not best.size or np.ptp(best) > 1e-4 * max(1.0, np.abs(best).max()):
        return None
    return float(np.median(best))


def _is_grid(varied: Sequence[Factor], configurations: int) -> bool:
    """Whether the configurations are all pairs of the values of two factors."""
    if len(varied) != 2:
        return False
    rows, columns = varied
    pairs = set(zip(rows.index, columns.index, strict=True))
    return len(pairs) == configurations == len(rows.texts) * len(columns.texts)
