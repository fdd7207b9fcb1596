"""Reports show the measures asked for, and draw those that are curves."""

import dataclasses

import pytest

import purerl
from purerl.envs.grids import grid_2x3
from purerl.run.report import draw, show


@pytest.fixture(scope="module")
def result():
    agent = purerl.QLearning(env=grid_2x3(), epsilon=1.0)
    return purerl.sweep(agent, 2, num_steps=200, points=4, keep_state=True, progress=False)


def written(folder):
    return sorted(path.name for path in folder.iterdir())


def test_all_measures_by_default(result, tmp_path):
    paths = draw(result, tmp_path)
    assert {path.stem for path in paths} == {*result.curves, "policy"}
    assert written(tmp_path) == sorted(path.name for path in paths)


def test_only_measures_asked_for(result, tmp_path, capsys):
    show(result, tmp_path, ["q_error"])
    assert written(tmp_path) == ["policy.png", "q_error.png"]
    printed = capsys.readouterr().out
    assert "q_error" in printed
    assert "policy_regret" not in printed


def test_a_single_point_is_no_picture(result, tmp_path):
    last = {name: curve[..., -1:] for name, curve in result.curves.items()}
    assert [path.stem for path in draw(dataclasses.replace(result, curves=last), tmp_path)] == [
        "policy"
    ]
