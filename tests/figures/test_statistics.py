import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from purerl.figures import statistics
from purerl.figures.statistics import (
    Interval,
    aggregates,
    bootstrap_curves,
    improvement_interval,
    iqm,
    mean,
    median,
    normal_band,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
    profile_band,
    stratified_bootstrap,
)

SCORES = hnp.arrays(
    np.float64, hnp.array_shapes(min_dims=1, max_dims=2, max_side=12), elements=st.floats(-1e3, 1e3)
)


def rng(seed=0):
    return np.random.default_rng(seed)


# --- aggregates ---------------------------------------------------------------


@given(SCORES)
def test_iqm_is_scipys_trimmed_mean_of_all_runs(scores):
    np.testing.assert_allclose(
        iqm(scores), scipy.stats.trim_mean(scores, 0.25, axis=None), rtol=1e-12, atol=1e-10
    )


@pytest.mark.parametrize(
    ("n", "expected"), [(1, 0.0), (2, 0.5), (3, 1.0), (4, 1.5), (5, 2.0), (7, 3.0), (8, 3.5)]
)
def test_iqm_of_squares_keeps_the_middle_half(n, expected):
    assert iqm(np.arange(n)) == expected
    outlier = np.arange(n)
    if n >= 4:
        outlier[-1] = 10**6
        assert iqm(outlier) == expected


def test_the_median_of_several_tasks_is_that_of_their_means():
    scores = [[0.0, 0.0, 30.0], [1.0, 2.0, 3.0], [100.0, 100.0, 130.0]]  # means 10, 2, 110
    assert median(scores) == 10.0
    assert mean(scores) == pytest.approx(366 / 9)
    assert median([[0.0, 0.0, 30.0]]) == median([0.0, 0.0, 30.0]) == 0.0


@pytest.mark.parametrize("statistic", [mean, median, iqm])
def test_statistics_take_leading_axes(statistic):
    scores = rng().normal(size=(5, 2, 3, 7))
    batched = statistic(scores)
    assert batched.shape == (5, 2)
    for index in np.ndindex(5, 2):
        assert batched[index] == pytest.approx(statistic(scores[index]))
    np.testing.assert_array_equal(statistic(scores[0, 0, 0]), statistic(scores[0, 0, :1]))


@pytest.mark.parametrize(
    "function",
    [
        mean,
        median,
        iqm,
        lambda s: stratified_bootstrap(s, mean, rng()),
        lambda s: performance_profile(s, [0.0]),
        lambda s: probability_of_improvement(s, np.zeros((3, 2))),
        lambda s: probability_of_improvement(np.zeros((3, 2)), s),
    ],
)
def test_a_failed_seed_is_named_and_never_dropped(function):
    scores = np.zeros((3, 64))
    scores[0, 2], scores[2, 17] = np.nan, np.nan
    with pytest.raises(ValueError, match=r"2 of 192 \w+ are NaN \(at \[0, 2\], \[2, 17\]\)"):
        function(scores)
    with pytest.raises(ValueError, match=r"shape \(3, 0\)"):
        function(np.zeros((3, 0)))
    with pytest.raises(ValueError, match=r"shape \(\)"):
        function(1.0)


def test_infinite_scores_count():
    scores = np.arange(16.0)
    scores[:4] = -np.inf
    assert iqm(scores) == 7.5  # they are in the lowest quarter
    scores[:5] = -np.inf
    assert iqm(scores) == mean(scores) == -np.inf
    found = stratified_bootstrap(scores, iqm, rng())
    assert found.point == found.low == -np.inf and 7.5 < found.high < 15
    assert performance_profile(scores, [-1e9])[0] == 11 / 16
    assert probability_of_improvement(scores, [-np.inf]) == (11 + 5 / 2) / 16


def test_many_failed_seeds_are_counted_and_the_first_are_named():
    with pytest.raises(ValueError, match=r"40 of 40 scores .*\[7\], \.\.\.\)") as error:
        mean(np.full(40, np.nan))
    assert "[8]" not in str(error.value)


# --- bootstrap ----------------------------------------------------------------


def test_the_bootstrap_distribution_of_two_seeds_is_exact():
    # Of {0, 1} with replacement: means 0, 1/2, 1 with chances 1/4, 1/2, 1/4, so the
    # quartiles are at the jumps.
    inner = stratified_bootstrap(
        [0.0, 1.0], mean, rng(), samples=4000, confidence=0.4
    )  # quantiles 0.3 and 0.7
    outer = stratified_bootstrap(
        [0.0, 1.0], mean, rng(), samples=4000, confidence=0.6
    )  # quantiles 0.2 and 0.8
    assert inner == Interval(0.5, 0.5, 0.5, 2)
    assert outer == Interval(0.5, 0.0, 1.0, 2)


def test_tasks_are_resampled_apart_from_each_other():
    # Tasks without spread of their own leave nothing to resample, however far apart
    # they lie.
    assert stratified_bootstrap([[0.0] * 5, [100.0] * 5], mean, rng()) == Interval(
        50.0, 50.0, 50.0, 5
    )
    # M equal tasks, drawn independently, shrink the variance of the mean by M; drawn
    # together they would not.
    task = rng(1).normal(size=40)
    alone = stratified_bootstrap(task, mean, rng(2), samples=8000)
    many = stratified_bootstrap(np.tile(task, (9, 1)), mean, rng(3), samples=8000)
    assert (alone.high - alone.low) / (many.high - many.low) == pytest.approx(3.0, rel=0.06)


@pytest.mark.parametrize(
    ("ours", "scipys"),
    [
        (mean, np.mean),
        (median, np.median),
        (iqm, lambda x, axis: scipy.stats.trim_mean(x, 0.25, axis=axis)),
    ],
)
def test_intervals_agree_with_scipys_percentile_bootstrap(ours, scipys):
    scores = rng(4).gamma(2.0, size=50)
    interval = stratified_bootstrap(scores, ours, rng(5), samples=10_000, confidence=0.9)
    reference = scipy.stats.bootstrap(
        (scores,),
        scipys,
        n_resamples=10_000,
        confidence_level=0.9,
        method="percentile",
        rng=rng(6),
        vectorized=True,
    ).confidence_interval
    # The standard error of a 5% quantile of B resamples is sqrt(.05 .95 / B) / density,
    # about 0.02 standard errors here.
    tolerance = 0.1 * (reference.high - reference.low) / 3.29
    assert interval.low == pytest.approx(reference.low, abs=tolerance)
    assert interval.high == pytest.approx(reference.high, abs=tolerance)
    assert interval.point == pytest.approx(scipys(scores, axis=0))
    assert interval.n == 50


@pytest.mark.parametrize("n", [10, 100])
def test_coverage_of_the_mean_of_normal_scores(n):
    # The percentile interval of a mean is, but for Monte Carlo error, mean +- z sqrt((n
    # - 1) / n) s / sqrt(n), and so covers as often as |t| with n - 1 degrees of freedom
    # stays below z sqrt((n - 1) / n): 90.4% at n = 10, 94.4% at n = 100.
    trials, z = 1000, scipy.stats.norm.ppf(0.975)
    expected = 2 * scipy.stats.t.cdf(z * math.sqrt((n - 1) / n), n - 1) - 1
    generator = rng(7)
    data = generator.normal(3.0, 2.0, size=(trials, n))
    covered = 0
    for scores in data:
        _, low, high, _ = stratified_bootstrap(scores, mean, generator, samples=500)
        covered += low <= 3.0 <= high
    least, most = scipy.stats.binom.interval(0.999, trials, expected)
    assert least <= covered <= most


@pytest.mark.parametrize("shape", [(1,), (4, 1)])
def test_one_seed_has_no_interval(shape):
    interval = stratified_bootstrap(np.arange(math.prod(shape)).reshape(shape), mean, rng())
    assert interval.point == (math.prod(shape) - 1) / 2
    assert math.isnan(interval.low) and math.isnan(interval.high)
    assert interval.n == 1


def test_the_interval_is_a_function_of_the_generator():
    scores = rng(8).normal(size=(3, 20))
    assert stratified_bootstrap(scores, iqm, rng(9)) == stratified_bootstrap(scores, iqm, rng(9))
    assert stratified_bootstrap(scores, iqm, rng(9)) != stratified_bootstrap(scores, iqm, rng(10))
    generator = rng(9)
    assert stratified_bootstrap(scores, iqm, generator) != stratified_bootstrap(
        scores, iqm, generator
    )
    state = np.random.get_state()[1].copy()
    stratified_bootstrap(scores, iqm, rng(9))
    np.testing.assert_array_equal(np.random.get_state()[1], state)


@pytest.mark.parametrize("batch", [1, 100, 7_777, 10**9])
def test_batches_change_memory_and_not_the_result(monkeypatch, batch):
    curves = rng(11).normal(size=(3, 7, 5))
    expected = bootstrap_curves(curves, iqm, rng(12), samples=333)
    monkeypatch.setattr(statistics, "_BATCH", batch)
    np.testing.assert_array_equal(bootstrap_curves(curves, iqm, rng(12), samples=333), expected)


def test_a_point_of_a_curve_is_a_bootstrap_of_its_scores():
    curves = rng(13).normal(size=(12, 6))
    point, low, high = bootstrap_curves(curves, iqm, rng(14))
    assert point.shape == low.shape == high.shape == (6,)
    for k in range(6):
        assert stratified_bootstrap(curves[:, k], iqm, rng(14)) == Interval(
            point[k], low[k], high[k], 12
        )
    tasks = bootstrap_curves(np.stack([curves, curves + 1.0]), mean, rng(14))
    assert tasks[0] == pytest.approx(curves.mean(axis=0) + 0.5)


def test_all_points_share_their_resampled_seeds():
    # Within a resample, curve + its mirror image is constant: only whole curves can
    # show no spread in their sum.
    half = rng(15).normal(size=20)
    seen = []

    def remember(scores):
        seen.append(scores.sum(axis=0))
        return mean(scores)

    bootstrap_curves(np.stack([half, 1 - half], axis=1), remember, rng(16), samples=50)
    for total in seen:
        np.testing.assert_allclose(total, 1.0)


def test_any_reduction_of_the_last_two_axes_is_a_statistic():
    scores = rng(17).normal(size=(3, 30))
    interval = stratified_bootstrap(scores, lambda s: np.quantile(s, 0.9, axis=(-2, -1)), rng(18))
    assert interval.point == np.quantile(scores, 0.9)
    assert interval.low <= interval.point <= interval.high


@pytest.mark.parametrize(
    ("error", "match", "options"),
    [
        (TypeError, "generator is 0", {"generator": 0}),
        (TypeError, "must be a numpy.random.Generator", {"generator": np.random}),
        (ValueError, "samples is 0", {"samples": 0}),
        (ValueError, "confidence is 95", {"confidence": 95}),
        (ValueError, "confidence is 1", {"confidence": 1.0}),
        (ValueError, "confidence is 0", {"confidence": 0.0}),
        (ValueError, "scores has shape", {"scores": np.zeros((2, 3, 4))}),
        (ValueError, r"statistic made \(\) of \(1, 1, 5\)", {"statistic": np.mean}),
    ],
)
def test_bad_arguments_of_the_bootstrap(error, match, options):
    with pytest.raises(error, match=match):
        stratified_bootstrap(
            **{"scores": np.arange(5.0), "statistic": mean, "generator": rng()} | options
        )


@pytest.mark.parametrize("shape", [(5,), (2, 3, 4, 5)])
def test_curves_have_two_or_three_axes(shape):
    with pytest.raises(ValueError, match=r"curves has shape .* needs 2 or 3 axes"):
        bootstrap_curves(np.zeros(shape), mean, rng())


# --- normal bands -------------------------------------------------------------


def test_a_normal_band_is_scipys_normal_interval():
    samples = rng(21).normal(3.0, 2.0, size=(400, 5))
    band = normal_band(samples)
    error = scipy.stats.sem(samples, axis=0)
    low, high = scipy.stats.norm.interval(0.95, loc=samples.mean(axis=0), scale=error)
    np.testing.assert_array_equal(band.point, samples.mean(axis=0))
    np.testing.assert_allclose(band.low, low, rtol=1e-5)
    np.testing.assert_allclose(band.high, high, rtol=1e-5)


def test_a_normal_band_covers_95_percent_of_means():
    samples = rng(22).normal(size=(100, 4000))
    band = normal_band(samples)
    covered = int(((band.low <= 0) & (band.high >= 0)).sum())
    least, most = scipy.stats.binom.interval(0.999, 4000, 0.9445)  # of |t| with 99 d.o.f.
    assert least <= covered <= most


def test_a_normal_band_keeps_diverged_points_apart():
    with np.errstate(invalid="ignore"):
        band = normal_band([[1.0, np.inf, np.nan], [3.0, 0.0, 0.0]])
    assert band.point[0] == 2.0 and np.isfinite([band.low[0], band.high[0]]).all()
    assert band.point[1] == np.inf and np.isnan(band.point[2])


# --- interval as text ---------------------------------------------------------


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        (Interval(1.0, 0.5, 1.5, 10), "1.000 [0.500, 1.500] (n=10)"),
        (Interval(498.2, 495.1, 500.0, 64), "498.2 [495.1, 500.0] (n=64)"),
        (Interval(-13.04, -13.5, -12.0, 8), "-13.04 [-13.50, -12.00] (n=8: too few)"),
        (Interval(0.0034, 0.003, 0.004, 128), "0.003400 [0.003000, 0.004000] (n=128)"),
        (Interval(12345.6, 9999.0, 23456.7, 5), "12346 [9999, 23457] (n=5: too few)"),
        (Interval(9.8e-5, 1e-5, 1.2e-4, 5), "9.800e-05 [1.000e-05, 1.200e-04] (n=5: too few)"),
        (Interval(0.0, 0.0, 0.0, 3), "0.0 [0.0, 0.0] (n=3: too few)"),
        (Interval(7.0, math.nan, math.nan, 1), "7.000 [nan, nan] (n=1: too few)"),
    ],
)
def test_an_interval_as_text(interval, text):
    assert str(interval) == f"{interval}" == text


def test_a_format_applies_to_each_number():
    assert f"{Interval(1.0, 0.5, 1.5, 9):.2f}" == "1.00 [0.50, 1.50] (n=9: too few)"


# --- profiles and improvement -------------------------------------------------


def test_a_profile_of_uniform_scores_is_a_straight_line():
    scores = (np.arange(1000).reshape(4, 250) + 0.5) / 1000
    thresholds = np.linspace(-0.1, 1.1, 13)
    np.testing.assert_allclose(
        performance_profile(scores, thresholds), np.clip(1 - thresholds, 0, 1), atol=1e-12
    )


@given(SCORES, hnp.arrays(np.float64, st.integers(1, 9), elements=st.floats(-1e3, 1e3)))
def test_a_profile_counts_scores_strictly_above(scores, thresholds):
    thresholds = np.append(thresholds, scores.flat[0])  # a tie
    direct = (scores.reshape(-1, 1) > thresholds).mean(axis=0)
    np.testing.assert_allclose(performance_profile(scores, thresholds), direct, atol=1e-12)


def test_probability_of_improvement_by_hand():
    assert probability_of_improvement([1, 2, 3], [0, 2]) == (6 - 2 + 0.5) / 6
    assert probability_of_improvement([5, 5], [5, 5, 5]) == 0.5
    assert probability_of_improvement([[1, 2], [1, 2]], [[0], [3]]) == 0.5
    assert probability_of_improvement([[1, 2], [1, 2]], [[0], [1]]) == (1 + 0.75) / 2


@given(st.data(), st.integers(1, 4), st.integers(1, 9), st.integers(1, 9))
def test_probability_of_improvement_is_the_mean_mann_whitney_u(data, tasks, n, k):
    few = st.integers(-3, 3)  # so that ties are common
    x, y = (data.draw(hnp.arrays(np.int64, (tasks, size), elements=few)) for size in (n, k))
    value = probability_of_improvement(x, y)
    assert value == pytest.approx(
        np.mean(
            [scipy.stats.mannwhitneyu(a, b).statistic / (n * k) for a, b in zip(x, y, strict=True)]
        )
    )
    assert value == pytest.approx(1 - probability_of_improvement(y, x))


def test_normal_scores_improve_by_the_normal_distribution():
    # P(X > Y) = Phi((mu_x - mu_y) / sqrt(2)) for unit variances.
    x, y = rng(19).normal(1.0, size=20_000), rng(20).normal(0.0, size=20_000)
    assert probability_of_improvement(x, y) == pytest.approx(
        scipy.stats.norm.cdf(1 / math.sqrt(2)), abs=0.01
    )


def test_improvement_needs_the_same_tasks():
    with pytest.raises(ValueError, match="x has 2 tasks and y has 3"):
        probability_of_improvement(np.zeros((2, 4)), np.zeros((3, 4)))


def scipys_interval(data, statistic):
    """The reference: samples are resampled apart from each other."""
    return scipy.stats.bootstrap(
        data,
        statistic,
        n_resamples=4_000,
        confidence_level=0.9,
        method="percentile",
        rng=rng(31),
        vectorized=False,
    ).confidence_interval


def agrees(interval, reference):
    tolerance = 0.1 * (reference.high - reference.low) / 3.29
    assert interval.low == pytest.approx(reference.low, abs=tolerance)
    assert interval.high == pytest.approx(reference.high, abs=tolerance)


def test_the_interval_of_an_improvement_is_scipys():
    x, y = rng(32).normal(0.5, size=30), rng(33).normal(size=50)
    found = improvement_interval(x, y, rng(34), samples=10_000, confidence=0.9)
    # No ties: the statistic of Mann and Whitney, divided by the number of pairs.
    agrees(found, scipys_interval((x, y), lambda a, b: np.mean(a[:, None] > b)))
    assert found.point == probability_of_improvement(x, y) and found.n == 30


def test_improvement_is_resampled_within_tasks():
    # Of two tasks that each side wins for certain nothing varies.
    x, y = [[1.0, 2.0], [-2.0, -1.0]], [[0.0, 0.5], [0.0, 0.5]]
    assert improvement_interval(x, y, rng()) == Interval(0.5, 0.5, 0.5, 2)
    alone = improvement_interval([1.0], [0.0, 2.0], rng())
    assert alone.point == 0.5 and math.isnan(alone.low) and alone.n == 1


# --- profiles with bands, and aggregates over environments ----------------------


def test_a_profiles_band_has_the_quantiles_of_the_binomial_distribution():
    # A resample of n runs, a share p of which is above, has Binomial(n, p) above.
    band = profile_band(np.arange(100), [24, 49, 89], rng(35), samples=20_000, confidence=0.9)
    np.testing.assert_allclose(band.point, [0.75, 0.5, 0.1])
    for p, low, high in zip(*band, strict=True):
        least, most = scipy.stats.binom.ppf([0.05, 0.95], 100, p) / 100
        assert abs(low - least) < 0.0101 and abs(high - most) < 0.0101


def test_a_profiles_band_is_stratified():
    # All runs of one task are above, none of the other: nothing varies.
    band = profile_band([[2.0] * 5, [0.0] * 5], [1.0], rng())
    assert band.point == band.low == band.high == 0.5


@pytest.mark.parametrize(
    ("scores", "target", "gap"),
    [
        ([0.0, 1.0], 1.0, 0.5),
        ([0.5, 3.0], 1.0, 0.25),  # what is above the target makes up for nothing
        ([0.5, 3.0], 2.0, 0.75),
        ([[0.0, 0.0], [5.0, 5.0]], 1.0, 0.5),
        ([-1.0], 1.0, 2.0),
    ],
)
def test_the_optimality_gap_by_hand(scores, target, gap):
    assert optimality_gap(scores, target) == gap


def test_the_optimality_gap_of_uniform_scores():
    # E[1 - min(X, 1)] for X uniform in [0, 2]: the integral of (1 - x) / 2 up to 1.
    assert optimality_gap((np.arange(2000) + 0.5) / 1000) == pytest.approx(0.25, abs=1e-6)


def test_aggregates_over_environments_are_scipys():
    generator = rng(36)
    scores = {
        "a": generator.normal(0.2, 0.1, size=20),
        "b": generator.normal(0.9, 0.3, size=12),
        "c": generator.normal(3.0, 0.5, size=15),
    }
    found = aggregates(scores, rng(37), samples=10_000, confidence=0.9)
    rows = tuple(scores.values())
    references = {
        "median": lambda *tasks: np.median([task.mean() for task in tasks]),
        "iqm": lambda *tasks: scipy.stats.trim_mean(np.concatenate(tasks), 0.25),
        "mean": lambda *tasks: np.concatenate(tasks).mean(),
        "optimality gap": lambda *tasks: np.maximum(1 - np.concatenate(tasks), 0).mean(),
    }
    assert list(found) == list(references)
    for name, reference in references.items():
        assert found[name].point == pytest.approx(reference(*rows))
        assert found[name].n == 12
        agrees(found[name], scipys_interval(rows, reference))
    # Drawn from all runs together, the interval of the mean would be several times as
    # wide, for the environments are far apart.
    together = stratified_bootstrap(np.concatenate(rows), mean, rng(38), confidence=0.9)
    width = found["mean"].high - found["mean"].low
    assert together.high - together.low > 3 * width


def test_aggregates_of_one_seed_have_no_interval():
    found = aggregates({"a": [1.0], "b": [0.0, 0.5]}, rng())
    assert found["mean"].point == 0.5 and math.isnan(found["mean"].low) and found["mean"].n == 1


@pytest.mark.parametrize(
    ("scores", "options", "match"),
    [
        ({}, {}, "scores is empty; allowed: at least one environment"),
        ({"a": [1.0, math.nan]}, {}, r"1 of 2 scores\['a'\] are NaN"),
        ({"a": []}, {}, r"scores\['a'\] has shape \(0,\)"),
        ({"a": [1.0, 2.0]}, {"samples": 0}, "samples is 0"),
        ({"a": [1.0, 2.0]}, {"confidence": 95}, "confidence is 95"),
    ],
)
def test_bad_arguments_of_aggregates(scores, options, match):
    with pytest.raises(ValueError, match=match):
        aggregates(scores, rng(), **options)
