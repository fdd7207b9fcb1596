"""Scores equal bsuite's for the same numbers; runs are scored, read and resumed."""

import warnings

import jax
import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from bsuite.utils.wrappers import _logarithmic_logging

import purerl.random
from experiments import bsuite_suite
from purerl.envs.bsuite import EXPERIMENTS, load
from purerl.figures import radar
from purerl.suites import bsuite
from purerl.suites.bsuite import runs
from purerl.suites.bsuite.parts import parts as parts_of

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:bsuite")


@pytest.fixture(scope="module")
def summary():
    """bsuite's own analysis, which is slow to import.

    It still calls a method that pandas has removed, which is restored for it.
    """
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setattr(
            pd.Series, "append", lambda self, other: pd.concat([self, other]), raising=False
        )
        from bsuite.experiments import summary_analysis

        yield summary_analysis


LOGGED = [episode for episode in range(1, 10_001) if _logarithmic_logging(episode)]


def synthetic(experiment, rng, skill):
    """Runs of every setting: rows as bsuite logs them, and columns as recorded here."""
    about = EXPERIMENTS[experiment]
    rows, final = [], []
    episodes = np.array([episode for episode in LOGGED if episode <= about.episodes])
    for index, setting in enumerate(about.settings):
        n, level = about.episodes, np.clip(rng.normal(skill, 0.3), 0, 1)
        share = {  # an episode's mean
            "total_regret": rng.choice([0, 1])
            * (1 - level)
            * (2 if experiment.startswith(("umb", "catch")) else 0.5),
            "total_perfect": 0.5 + level / 2,
            "total_upright": 500 * level,
            "denoised_return": level,
            "total_bad_episodes": 1 - level / 3,
            "total_return": {"mount": -1000 + 900 * level, "disco": 1 + 0.1 * level}.get(
                experiment[:5], 1000 * level
            ),
        }
        best = np.minimum(np.arange(1, len(episodes) + 1) * 30 * level, 1001).round(1)
        table = {name: (share[name] * episodes).round(1) for name in share}
        table["total_bad_episodes"] = np.ceil(
            episodes * (1 - level * (episodes / n) ** 0.5)
        ).astype(int)
        table["best_episode"] = best
        for i, episode in enumerate(episodes.tolist()):
            row = {name: values[i] for name, values in table.items()} | {
                "raw_return": table["total_return"][i]
            }
            rows.append(
                row
                | setting
                | {
                    "bsuite_id": f"{experiment}/{index}",
                    "bsuite_env": experiment,
                    "episode": episode,
                }
            )
        tenths, first = about.options.get("solved_tenths", 9), about.options.get("solved_from", 1)
        good = (10 * table["total_bad_episodes"] < tenths * episodes) & (episodes >= first)
        table["solved_episode"] = np.array([episodes[good][0] if good.any() else 0])
        final.append([table[name][-1] for name in about.columns])
    return pd.DataFrame(rows), dict(zip(about.columns, np.array(final).T[..., None], strict=True))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_scores_are_bsuites(summary, experiment):
    about, rng = EXPERIMENTS[experiment], np.random.default_rng(sum(map(ord, experiment)))
    scores = []
    for skill in (0.1, 0.5, 0.9):
        rows, columns = synthetic(experiment, rng, skill)
        (ours,) = bsuite.score(experiment, about.settings, columns, about.episodes)
        assert ours == pytest.approx(summary.BSUITE_INFO[experiment].score(rows), abs=1e-9)
        scores.append(ours)
    assert len(set(scores)) > 1 and 0 <= min(scores) <= max(scores) <= 1


def test_tags_are_bsuites_and_its_averages_too(summary):
    rng = np.random.default_rng(0)
    scores = {name: rng.uniform() for name in EXPERIMENTS}
    frame = pd.DataFrame(
        {"bsuite_env": name, "score": scores[name], "tags": str(summary.BSUITE_INFO[name].tags)}
        for name in scores
    )
    theirs = summary.ave_score_by_tag(frame, []).set_index("tag")["score"].to_dict()
    assert set(theirs) == set(bsuite.TAGS)

    class Fixed(bsuite.Report):
        @property
        def scores(self):
            return {name: np.array([value]) for name, value in scores.items()}

    assert {tag: float(mean[0]) for tag, mean in Fixed("agent", {}).tags.items()} == pytest.approx(
        theirs
    )


SOME = ["bandit_noise", "catch", "deep_sea"]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Three experiments, two settings each, a hundredth of the episodes, two seeds."""
    folder = tmp_path_factory.mktemp("suite")
    options = {
        "seeds": 2,
        "fraction": 0.01,
        "most_settings": 2,
        "label": "uniform",
        "progress": False,
    }
    return bsuite.run(bsuite.Uniform, SOME, out=folder, **options), folder, options


def test_a_run_is_scored_as_bsuite_scores_what_it_recorded(summary, small):
    report, *_ = small
    for name, record in report.records.items():
        for seed in range(2):
            rows = [
                {column: values[i, seed] for column, values in record.columns.items()}
                | setting
                | {"bsuite_id": f"{name}/{i}", "episode": record.episodes}
                for i, setting in enumerate(record.settings)
            ]
            assert summary.BSUITE_INFO[name].score(pd.DataFrame(rows)) == pytest.approx(
                report.scores[name][seed], abs=1e-9
            )


def test_what_is_recorded_of_random_actions_is_what_must_be(small):
    records = small[0].records
    catch = records["catch"].columns["total_regret"]
    assert records["catch"].episodes == 100 and catch.shape == (2, 2)
    assert (catch % 2 == 0).all() and 1.0 < catch.mean() / 100 < 1.8
    bandit = records["bandit_noise"].columns["total_regret"]
    np.testing.assert_array_equal(bandit, bandit.round(1))
    assert abs(bandit.mean() / 100 - 0.5) < 0.06
    assert (records["deep_sea"].columns["total_bad_episodes"] > 90).all()


def test_equal_settings_are_independent_runs(small):
    assert len(np.unique(small[0].records["catch"].columns["total_regret"])) > 2


def test_a_run_is_read_back_and_resumed(small):
    report, folder, options = small
    for again in (
        bsuite.read(folder),
        bsuite.run(bsuite.Uniform, SOME, out=folder, resume=True, **options),
    ):
        assert again.label == "uniform"
        for name in SOME:
            for column, values in report.records[name].columns.items():
                np.testing.assert_array_equal(again.records[name].columns[column], values)
    with pytest.raises(ValueError, match="holds this run already; resume it"):
        bsuite.run(bsuite.Uniform, SOME, out=folder, **options)
    with pytest.raises(ValueError, match="holds another run"):
        bsuite.run(bsuite.Uniform, SOME, out=folder, resume=True, **options | {"fraction": 0.5})


def test_a_run_that_has_not_ended_its_episodes_has_no_score(monkeypatch):
    grid = runs._grid
    monkeypatch.setattr(runs, "_grid", lambda steps, unit: grid(steps // 2, unit))
    with pytest.raises(ValueError, match="catch/0: seed 0 has not ended its episodes"):
        bsuite.run(bsuite.Uniform, ["catch"], fraction=0.05, most_settings=1, progress=False)


def test_a_failed_seed_has_no_score_and_is_told():
    columns = {"total_regret": np.array([[0.0, np.nan], [0.0, 0.0]])}
    report = bsuite.Report("agent", {"catch": bsuite.Recorded([{}, {}], columns, 10)})
    np.testing.assert_array_equal(report.scores["catch"], [1, np.nan])
    assert "1.000 (1 failed)" in report.table()


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_parts_have_each_setting_once_and_episodes_of_like_length(experiment):
    indices = list(range(len(EXPERIMENTS[experiment].settings)))
    parts = list(parts_of(experiment, 10, indices))
    members = [index for part in parts for equal in part.members for index in equal]
    assert sorted(members) == indices
    assert len({part.name for part in parts}) == len(parts)
    for part in parts:
        lengths = [env.longest_episode for env in part.environments]
        assert max(lengths) == lengths[-1] < 2 * min(lengths)
    expected = {
        "deep_sea": 21,
        "deep_sea_stochastic": 21,
        "memory_size": 17,
        "umbrella_distract": 23,
    }
    assert len(parts) == expected.get(
        experiment, {"memory_len": 6, "umbrella_length": 7}.get(experiment, 1)
    )


def test_a_run_ends_before_the_last_point_begins():
    for steps in (1, 100, 128, 129, 10_000, 90_000, 1_001_000, 1_280_000):
        for unit in (1, 4):
            points, length = runs._grid(steps, unit)
            assert points <= 100 and length % (128 * unit) == 0 and (points - 1) * length >= steps


def test_table_and_radar(small, tmp_path):
    report, *_ = small
    table = report.table()
    for words in ("credit assignment", "bandit_noise", "2 of 20", "100 of 10,000"):
        assert words in table
    path = radar.radar(
        tmp_path / "radar.png",
        {"a": report.tags, "b": {tag: s / 2 + 0.5 for tag, s in report.tags.items()}},
    )
    picture = matplotlib.image.imread(path)
    assert picture.ndim == 3 and picture.std() > 0.01
    assert report.radar(tmp_path / "one.svg").stat().st_size > 1_000
    with pytest.raises(ValueError, match="all labels the same tags"):
        radar.radar_figure({"a": {"basic": [1.0]}, "b": {"noise": [1.0]}})


@pytest.mark.slow
def test_the_script_runs_dqn_beside_random_actions(tmp_path):
    reports = bsuite_suite.main(("bandit",), fraction=0.03, most_settings=2, out=tmp_path)
    assert set(reports) == {"uniform", "DQN"} and (tmp_path / "radar.png").stat().st_size > 1_000
    assert reports["DQN"].scores["bandit"] > reports["uniform"].scores["bandit"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"experiments": ["mnist"]}, "experiments has mnist; allowed: bandit, "),
        ({"experiments": []}, "experiments has nothing; allowed"),
        ({"fraction": 0.0}, "fraction is 0.0; allowed"),
        ({"seeds": 0}, "seeds is 0; allowed"),
        ({"most_settings": 0}, "most_settings is 0; allowed"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        bsuite.run(bsuite.Uniform, **arguments)


def test_an_agent_that_steps_several_environments_is_refused():
    with pytest.raises(ValueError, match="num_envs is 4; allowed: 1"):
        bsuite.run(
            lambda env: bsuite_suite.dqn(env).replace(num_envs=4, target_period=4), ["catch"]
        )


def test_the_baseline_learns_nothing_and_acts_uniformly():
    agent = bsuite.Uniform(load("catch", 0))
    state = agent.init(purerl.random.key(0))
    snapshot, observation = agent.snapshot(state), agent.env.observe(state.env_state)
    assert jax.tree.leaves(snapshot) == []
    keys = jax.random.split(purerl.random.key(1), 3_000)
    actions = jax.vmap(agent.act, (None, 0, None))(snapshot, keys, observation)
    counts = np.bincount(actions, minlength=agent.env.num_actions)
    assert len(counts) == 3 and (abs(counts - 1_000) < 120).all()  # over four deviations


def test_a_folder_without_a_run_is_told(tmp_path):
    with pytest.raises(ValueError, match="holds no run of the suite"):
        bsuite.read(tmp_path)


def test_settings_have_short_names():
    assert f"{load('deep_sea', 3)}" == "deep_sea/3"
