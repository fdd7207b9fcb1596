"""What is concluded from a sweep: scores, tables, data and pictures of results that are
made by hand."""

import csv
import itertools
import os
import re
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import purerl
from purerl import policy, schedule
from purerl.run.result import SweepResult


def made(curves, over=None, counts=None, failures=(), num_steps=1000, label="a run", warm_ups=()):
    """A result with the curves ``{name: [C, N, points, ...]}``."""
    curves = {name: np.asarray(curve, np.float32) for name, curve in curves.items()}
    over = over or {}
    first = next(iter(curves.values()))
    return SweepResult(
        configurations=[dict(zip(over, v, strict=True)) for v in itertools.product(*over.values())],
        seeds=np.arange(first.shape[1]),
        curves=curves,
        steps={
            name: np.arange(1, curve.shape[2] + 1) * (num_steps // curve.shape[2])
            for name, curve in curves.items()
        },
        failures=[
            {"configuration": c, "seed": seed, "point": point, "reason": "it diverged"}
            for c, seed, point in failures
        ],
        manifest={"label": label},
        counts={name: np.asarray(count, np.float32) for name, count in (counts or {}).items()},
        warm_ups=warm_ups,
    )


def rng(seed=0):
    return np.random.default_rng(seed)


def cells(table):
    """The cells of a table, row by row, a row for each of its lines."""
    lines = [line for line in table.splitlines() if line.startswith(("│", "┃"))]
    return [[cell.strip() for cell in re.split("[│┃]", line)[1:-1]] for line in lines]


# ---- final scores --------------------------------------------------------------------


def test_a_final_score_of_training_does_not_depend_on_the_points():
    """1000 steps, in some of which an episode ends, cut into points in three ways."""
    generator = rng()
    returns = generator.normal(100, 30, size=(2, 3, 1000)) + np.arange(1000)
    ended = generator.random((2, 3, 1000)) < 0.05
    truth = [[returns[c, n, 900:][ended[c, n, 900:]].mean() for n in range(3)] for c in range(2)]
    for points in (10, 100, 500):
        cut = (2, 3, points, 1000 // points)
        counts = ended.reshape(cut).sum(axis=3)
        totals = np.where(ended, returns, 0).reshape(cut).sum(axis=3)
        with np.errstate(invalid="ignore"):
            means = totals / counts
        result = made(
            {"episode_return": means},
            {"learning_rate": [0.1, 0.2]},
            counts={"episode_return": counts},
        )
        np.testing.assert_allclose(result.final["episode_return"], truth, rtol=1e-5)


def test_final_scores_by_hand():
    training = np.array([[[9.0, 1.0], [9.0, np.nan], [np.nan, np.nan], [2.0, 3.0]]])
    points = np.repeat(training, 10, axis=2)  # twenty points: the last two are the tenth
    points[0, 0, -2:] = 1.0, 4.0
    counts = np.where(np.isnan(points), 0, 1.0)
    counts[0, 0, -2:] = 3, 1
    result = made(
        {"episode_return": points, "evaluation_return": training},
        counts={"episode_return": counts},
        failures=[(0, 3, 19)],
    )
    np.testing.assert_array_equal(result.final["episode_return"], [[7 / 4, np.nan, np.nan, np.nan]])
    np.testing.assert_array_equal(
        result.final["evaluation_return"], [[1.0, np.nan, np.nan, np.nan]]
    )
    assert result.scores("episode_return").tolist() == [7 / 4]


def test_an_infinite_point_makes_an_infinite_score():
    curve = np.full((1, 2, 20), 1.0)
    curve[0, 0, -1] = -np.inf
    result = made({"loss": curve}, counts={"loss": np.ones((1, 2, 20))})
    assert result.final["loss"].tolist() == [[-np.inf, 1.0]]


def test_measures_of_several_numbers_have_a_score_for_each():
    curve = rng().normal(size=(1, 12, 20, 2))
    counts = rng(1).integers(1, 5, size=(1, 12, 20))
    result = made({"losses": curve}, counts={"losses": counts})
    expected = (curve * counts[..., None])[:, :, -2:].sum(2) / counts[:, :, -2:].sum(2)[..., None]
    np.testing.assert_allclose(result.final["losses"], expected, rtol=1e-5)
    assert result.names == ["losses[0]", "losses[1]"]
    np.testing.assert_allclose(result.scores("losses[1]"), expected[0, :, 1], rtol=1e-5)
    assert "losses[1]" in result.table()
    with pytest.raises(ValueError, match=r"name is 'losses'; allowed: one of its numbers: losses"):
        result.figure("losses")
    assert result.figure("losses[0]").axes[0].get_ylabel() == "losses[0]"
    assert result.records()[0]["losses"].shape == (2,)
    assert list(result.to_pandas().columns)[-2:] == ["losses[0]", "losses[1]"]


def test_evaluations_come_first():
    one = np.zeros((1, 2, 10))
    names = ["episode_return", "evaluation_return", "loss", "q_error"]
    result = made({name: one for name in names}, counts={"episode_return": one, "loss": one})
    assert result.names == ["evaluation_return", "q_error", "episode_return", "loss"]
    assert cells(result.table(width=200))[0] == ["seeds", "failed", *result.names]


def test_unknown_measures_are_named():
    result = made({"q_error": np.zeros((1, 2, 10))})
    for use in (result.table, result.to_latex, result.to_html):
        with pytest.raises(ValueError, match=r"name is 'q_eror'; .* \(did you mean 'q_error'\?\)"):
            use(["q_eror"])
    for use in (result.figure, result.scores, result.interval):
        with pytest.raises(ValueError, match="name is 'regret'; allowed: one of q_error"):
            use("regret")


# ---- tables --------------------------------------------------------------------------


def test_a_table_with_numbers_of_configurations():
    scores = rng().normal(size=(2, 40, 1))
    result = made({"q_error": scores}, {"learning_rate": [1e-4, 1e-3], "discount": [0.9]})
    header, *rows = cells(result.table(width=100))
    assert header == ["#", "configuration", "seeds", "failed", "q_error"]
    for c, row in enumerate(rows):
        assert row[:4] == [str(c), f"learning_rate={('1e-4', '0.001')[c]}", "40", "0"]
        point, low, high = (float(word.strip("[],")) for word in row[4].split())
        assert point == pytest.approx(scipy.stats.trim_mean(scores[c, :, 0], 0.25), abs=1e-3)
        assert low < point < high
    assert "*" not in result.table()


def test_few_seeds_are_marked():
    marked = made({"q_error": rng().normal(size=(1, 9, 1))}).table()
    assert cells(marked)[1][0] == "9*"
    assert "n < 10: too few seeds for a 95% interval" in marked
    assert "*" not in made({"q_error": rng().normal(size=(1, 10, 1))}).table()


def test_seeds_without_a_value_are_counted():
    curve = rng().normal(size=(1, 16, 10))
    curve[0, :3] = np.nan
    curve[0, 3, 5:] = np.nan
    curve[0, 15] = np.nan  # it has not run at all
    other = rng(1).normal(size=(1, 16, 10))
    other[0, 3, 5:] = np.nan
    other[0, 15] = np.nan
    other[0, 4:6, -1] = -np.inf
    result = made(
        {"episode_return": curve, "policy_value": other},
        counts={"episode_return": ~np.isnan(curve)},
        failures=[(0, 3, 5)],
    )
    _, *rows = cells(result.table(["episode_return", "policy_value"], width=120))
    assert rows[0][:2] == ["15 of 16", "1"]
    assert [row[2] for row in rows][1:] == ["no episode ended in 3"]
    assert rows[0][2].endswith("(n=11)") and rows[0][3].endswith("(n=14)")
    assert rows[1][3] == "2 at -inf"


def test_a_capped_score_shows_who_is_below_the_cap():
    scores = np.full((1, 64, 1), 500.0)
    scores[0, :6, 0] = 120.5, 300, 400, 410, 420, 499
    capped = made({"evaluation_return": scores})
    interval = capped.interval("evaluation_return")
    assert interval.low == interval.high == 500
    assert [row[-1] for row in cells(capped.table())[1:]] == [
        "500.0 [500.0, 500.0]",
        "58 of 64 at 500.0",
        "lowest 120.5",
    ]
    regret = np.zeros((1, 64, 1))
    regret[0, :2, 0] = 0.25, 0.5
    table = made({"policy_regret": regret}).table()
    assert [row[-1] for row in cells(table)[2:]] == ["62 of 64 at 0.0", "highest 0.5000"]
    equal = made({"evaluation_return": np.full((1, 64, 1), 500.0)}).table()
    assert "at 500" not in equal


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140])
def test_tables_fit_the_width(width):
    names = [f"measure_{i}" for i in range(9)]
    result = made(
        {name: rng(i).normal(size=(4, 12, 5)) for i, name in enumerate(names)},
        {"learning_rate": [1e-4, 1e-3], "epsilon": [schedule.linear(1.0, 0.05, 5_000), 0.1]},
    )
    table = result.table(width=width)
    assert max(map(len, table.splitlines())) <= width
    for name in names:
        assert name in table
        for c in range(4):
            assert str(result.interval(name, c)).partition(" (")[0] in table
    headers = [row for row in cells(table) if row[0] == "#"]
    assert sum(len(row) - 1 for row in headers) == 9 + 3
    # Lines are broken behind a comma.
    assert width < 60 or "epsilon=1 to 0.05 in 5k" in table


def test_the_width_is_that_of_the_terminal(monkeypatch):
    result = made({f"m{i}": np.zeros((1, 12, 1)) for i in range(9)})
    for columns in (50, 130):
        monkeypatch.setenv("COLUMNS", str(columns))
        assert result.table() == result.table(width=columns)
    assert result.table(width=50) != result.table(width=130)


def test_a_table_in_latex():
    result = made(
        {"policy_value": [[[-0.5]] * 16, [[-np.inf]] * 16]},
        {"learning_rate": [1e-4, 1e-3]},
    )
    assert result.to_latex() == "\n".join(
        [
            r"\begin{tabular}{llllr}",
            r"\toprule",
            r"\# & configuration & seeds & failed & policy\_value \\",
            r"\midrule",
            r"0 & learning\_rate=1e-4 & 16 & 0 & $-0.5000\ [-0.5000, -0.5000]$ \\",
            r"1 & learning\_rate=0.001 & 16 & 0 & "
            r"$-\infty\ [-\infty, -\infty]$, 16 at -inf \\",
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


# ---- data ----------------------------------------------------------------------------


def long():
    """Two configurations, three seeds, four points of training and one evaluation."""
    epsilons = [schedule.linear(1.0, 0.1, 100), 0.1]
    curves = {
        "epsilon": np.arange(24).reshape(2, 3, 4) / 10,
        "evaluation_return": -np.arange(6.0).reshape(2, 3, 1),
    }
    curves["epsilon"][1, 2, 1] = np.nan
    counts = {"epsilon": np.ones((2, 3, 4))}
    return epsilons, made(curves, {"epsilon": epsilons, "rate": [0.5]}, counts)


def test_records_by_hand():
    epsilons, result = long()
    rows = result.records()
    assert len(rows) == 2 * 3 * 4
    assert list(rows[0]) == [
        "configuration",
        "agent.epsilon",  # a curve has the name of the field
        "rate",
        "seed",
        "step",
        "epsilon",
        "evaluation_return",
    ]
    # Configuration 1, seed 0: its last point is the one with the evaluation.
    before, last = rows[12 + 2], rows[12 + 3]
    assert (last["configuration"], last["seed"], last["step"]) == (1, 0, 1000)
    assert last["agent.epsilon"] is epsilons[1] and last["rate"] == 0.5
    assert last["epsilon"] == np.float32(1.5) and last["evaluation_return"] == -3
    assert before["step"] == 750 and np.isnan(before["evaluation_return"])
    assert np.isnan(rows[12 + 8 + 1]["epsilon"])


def test_a_data_frame_has_the_records():
    pandas = pytest.importorskip("pandas", reason="to_pandas needs it")
    _, result = long()
    frame = result.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    rows = result.records()
    assert list(frame.columns) == list(rows[0])
    for i, row in enumerate(rows):
        for name in ("configuration", "seed", "step", "epsilon", "evaluation_return", "rate"):
            np.testing.assert_equal(frame[name][i], row[name])
    means = frame.groupby("agent.epsilon")["evaluation_return"].mean()
    assert means.to_dict() == {"1 to 0.1 in 100": -1.0, "0.1": -4.0}


def test_numbers_stay_numbers_and_other_values_become_words(tmp_path):
    curves = {"q_error": np.zeros((2, 1, 1))}
    rates = [jnp.float32(0.5), np.float64(0.25)]
    game = purerl.make("CartPole-v1")
    result = made(curves, {"rate": rates, "env": [game], "masked": [True]})
    rows = list(csv.DictReader(result.to_csv(tmp_path / "a.csv").open()))
    assert [(row["rate"], row["masked"]) for row in rows] == [("0.5", "True"), ("0.25", "True")]
    assert all(row["env"] == str(game) for row in rows)
    assert result.records()[0]["env"] is game


def test_without_pandas_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ModuleNotFoundError, match=r"to_pandas needs pandas: pip install pandas"):
        long()[1].to_pandas()


def test_importing_purerl_imports_no_pandas_and_no_matplotlib():
    code = "import sys, purerl; print('pandas' in sys.modules, 'matplotlib' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["False", "False"]


def test_csv_comes_back(tmp_path):
    _, result = long()
    path = result.to_csv(tmp_path / "points.csv")
    assert path == tmp_path / "points.csv"
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 24 and rows[0]["agent.epsilon"] == "1 to 0.1 in 100"
    read = np.float32([row["epsilon"] or "nan" for row in rows]).reshape(2, 3, 4)
    np.testing.assert_array_equal(read, result.curves["epsilon"])  # bit for bit
    assert [row["evaluation_return"] for row in rows[:4]] == ["", "", "", "-0.0"]


def test_a_run_without_curves_has_no_records():
    result = SweepResult(
        configurations=[{"rate": 0.1}],
        seeds=np.arange(3),
        curves={},
        steps={},
        failures=[],
        manifest={"label": "empty"},
    )
    assert result.records() == [] and result.final == {} and result.names == []
    assert cells(result.table())[1] == ["0 of 3*", "0"]
    assert "empty" in repr(result) and "<table>" in result._repr_html_()
    with pytest.raises(ValueError, match="no run is finished"):
        result.figure()


# ---- pictures ------------------------------------------------------------------------


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def lines(figure):
    """Curves by label, without the dashed line of an optimum."""
    (axes,) = figure.axes
    return {line.get_label(): line for line in axes.get_lines() if line.get_xdata()[0] > 1}


def test_alike_labels_are_different_lines():
    tables = [policy.Fixed(np.float32([[1.0, 0.0]])), policy.Fixed(np.float32([[0.0, 1.0]]))]
    curves = np.stack([np.zeros((12, 10)), np.ones((12, 10))])
    figure = made({"episode_return": curves}, {"behavior": tables}).figure("episode_return")
    assert legend(figure) == ["behavior Fixed (1) (n=12)", "behavior Fixed (2) (n=12)"]
    first, second = lines(figure).values()
    assert first.get_ydata()[0] == 0 and second.get_ydata()[0] == 1


def test_color_by_one_factor_and_style_by_the_other():
    result = made(
        {"episode_return": rng().normal(size=(6, 12, 10))},
        {"learning_rate": [1e-4, 1e-3], "epsilon": [0.1, 0.2, 0.3]},
    )
    drawn = list(lines(result.figure()).values())
    looks = [(line.get_color(), line.get_linestyle()) for line in drawn]
    colors, styles = zip(*looks, strict=True)
    assert len(set(looks)) == 6
    assert styles[0] == styles[1] == styles[2] != styles[3] == styles[4] == styles[5]
    assert colors[:3] == colors[3:] and len(set(colors)) == 3


def test_the_picture_says_what_it_shows():
    result = made({"episode_return": rng().normal(size=(1, 12, 10))}, label="DQN on a game")
    (axes,) = result.figure(optimum=5.0).axes
    assert axes.get_title() == "DQN on a game"
    assert [text.get_text() for text in axes.texts] == ["IQM, 95% stratified bootstrap"]
    assert axes.get_ylabel() == "episode return"
    assert legend(axes.figure) == ["n=12", "optimum"]
    few = made({"episode_return": rng().normal(size=(1, 5, 10))}).figure()
    assert "n < 10 is too few for 95%" in few.axes[0].texts[0].get_text()


def test_the_axis_counts_the_warm_up():
    curves = {"episode_return": rng().normal(size=(2, 12, 10))}
    over = {"epsilon": [0.1, 0.2]}
    steps = np.arange(1, 11) * 100
    for warm_ups, at, label in (
        ([], steps, "environment steps"),
        ([0, 0], steps, "environment steps"),
        ([5_000, 5_000], 5_000 + steps, "environment steps"),
        ([5_000, 0], steps, "environment steps after the warm-up"),
    ):
        result = made(curves, over, warm_ups=warm_ups)
        (axes,) = result.figure().axes
        for line in lines(axes.figure).values():
            np.testing.assert_array_equal(line.get_xdata(), at)
        assert axes.get_xlabel() == label
        chart = result.chart("episode_return")
        assert chart.steps.tolist() == at.tolist() and chart.xlabel == label
        # The clock of tables and files is that of num_steps.
        assert {row["step"] for row in result.records()} == set(steps.tolist())
    many = made(
        {"episode_return": rng().normal(size=(13, 12, 10))},
        {"epsilon": [i / 100 for i in range(13)]},
        warm_ups=[5_000] * 13,
    ).figure()
    assert many.axes[0].get_lines()[-1].get_xdata().tolist() == (5_000 + steps).tolist()
    assert many.get_supxlabel() == "environment steps"


def test_decades_of_an_axis_count_the_warm_up():
    errors = {"q_error": np.tile(np.logspace(0, -2, 100), (1, 12, 1))}
    for warm_up, scale in ((0, "log"), (500, "linear")):  # 10 to 1000, or 510 to 1500
        (axes,) = made(errors, warm_ups=[warm_up]).figure().axes
        assert (axes.get_xscale(), axes.get_yscale()) == (scale, "log")


def test_the_optimum_is_known_beside_an_exact_regret():
    regret = rng().random((1, 12, 10))
    result = made({"policy_value": 0.7 - regret, "policy_regret": regret})
    value = result.figure("policy_value")
    (line,) = [line for line in value.axes[0].get_lines() if line.get_label() == "optimum"]
    np.testing.assert_allclose(line.get_ydata(), 0.7, rtol=1e-6)
    assert legend(result.figure("policy_regret")) == ["n=12"]
    two = made(
        {
            "policy_value": np.stack([0.7 - regret[0], 0.9 - regret[0]]),
            "policy_regret": [*regret] * 2,
        },
        {"env.slip": [0.1, 0.2]},
    )
    assert "optimum" not in legend(two.figure("policy_value"))  # there are two


@pytest.mark.parametrize(
    ("name", "values", "scales"),
    [
        ("q_error", np.logspace(0, -2, 100), ("log", "log")),
        ("q_error", np.logspace(0, -1, 100), ("linear", "linear")),
        ("policy_regret", np.r_[np.logspace(0, -3, 99), 0], ("linear", "linear")),
        ("episode_return", np.logspace(0, 3, 100), ("linear", "linear")),
    ],
)
def test_logarithmic_axes_only_where_they_help(name, values, scales):
    (axes,) = made({name: np.tile(values, (1, 12, 1))}).figure().axes
    assert (axes.get_xscale(), axes.get_yscale()) == scales


def test_many_configurations_of_two_factors_are_a_heat_map():
    curves = rng().normal(size=(15, 12, 10))
    rates, epsilons = [1e-4, 1e-3, 1e-2], [0.1, 0.2, 0.3, 0.4, 0.5]
    result = made(
        {"episode_return": curves},
        {"learning_rate": rates, "epsilon": epsilons},
        failures=[(7, 3, 5), (7, 4, 5)],
    )
    figure = result.figure()
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["1e-4", "0.001", "0.01"]
    assert [text.get_text() for text in axes.get_xticklabels()] == list(map(str, epsilons))
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("learning rate", "epsilon")
    shown = np.asarray(axes.images[0].get_array())
    for c, (i, j) in enumerate(np.ndindex(3, 5)):
        assert shown[i, j] == pytest.approx(result.interval("episode_return", c).point)
    texts = {tuple(map(int, text.get_position())): text.get_text() for text in axes.texts}
    assert texts[2, 1].endswith("2 failed") and "failed" not in texts[1, 2]


def test_many_configurations_of_one_factor_are_panels():
    curves = rng().normal(size=(13, 12, 10))
    curves[4, 2, 5:] = np.nan
    result = made({"episode_return": curves}, {"learning_rate": [i / 100 for i in range(1, 14)]})
    panels = [axes for axes in result.figure(optimum=3.0).axes if axes.get_visible()]
    assert len(panels) == 13
    titles = [axes.get_title() for axes in panels]
    assert titles[0] == "lr 0.01" and titles[4] == "lr 0.05 (n=11 of 12)"
    for c, axes in enumerate(panels):
        front = max(axes.get_lines(), key=lambda line: line.get_zorder())
        np.testing.assert_allclose(
            front.get_ydata()[:5], scipy.stats.trim_mean(curves[c, :, :5], 0.25), rtol=1e-5
        )
        assert len(axes.get_lines()) == 13 + 1 + 1
    twelve = made(
        {"episode_return": curves[:12]}, {"learning_rate": [i / 100 for i in range(1, 13)]}
    )
    assert len(twelve.figure().axes) == 1


def test_a_measure_with_one_point_is_not_the_default():
    curves = {"evaluation_return": np.ones((1, 12, 1)), "episode_return": np.ones((1, 12, 10))}
    result = made(curves, counts={"episode_return": np.ones((1, 12, 10))})
    assert result.figure().axes[0].get_ylabel() == "episode return"


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_plot_writes_the_figure(tmp_path, suffix):
    result = made({"q_error": rng().random((1, 12, 10))})
    path = result.plot(tmp_path / f"curves.{suffix}", "q_error")
    assert path.read_bytes()[:4] in (b"\x89PNG", b"%PDF", b"<?xm")


# ---- notebooks -----------------------------------------------------------------------


def test_a_notebook_shows_a_table_and_a_figure():
    curves = {"q_error": rng().random((2, 12, 10))}
    shown = made(curves, {"target": ["<b>", "a&b"]}, label="<i>run</i>")._repr_html_()
    assert "target=&lt;b&gt;" in shown and "target=a&amp;b" in shown and "<b>" not in shown
    assert "&lt;i&gt;run" in shown
    assert shown.count("<tr>") == 3
    assert 'src="data:image/png;base64,iVBOR' in shown


def test_the_table_is_text_in_a_notebook_too(monkeypatch):
    import rich.console

    monkeypatch.setattr(rich.console, "_is_jupyter", lambda: True)
    result = made({"q_error": rng().random((1, 12, 10))})
    assert "q_error" in result.table()


def test_repr_is_one_short_line():
    result = made({"q_error": np.zeros((2, 1000, 10))}, {"rate": [0.1, 0.2]}, label="QLearning")
    assert repr(result) == (
        "SweepResult('QLearning', 2 configurations x 1000 seeds, curves: q_error)"
    )
