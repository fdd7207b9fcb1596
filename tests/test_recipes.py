"""The recipes run as they are printed, and do what they say."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import purerl

PAGE = Path(__file__).parents[1] / "experiments/recipes/README.md"
BEGINNING, *_ = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


def follow(title, monkeypatch, folder):
    """Run the recipe under a title, in a folder; its variables."""
    monkeypatch.chdir(folder)
    section = PAGE.read_text().split(f"## {title}\n")[1].split("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    variables = {}
    exec(compile(BEGINNING + code, title, "exec"), variables)
    return variables


def test_a_log_of_json_lines(monkeypatch, tmp_path):
    agent = follow("A log of JSON lines", monkeypatch, tmp_path)["agent"]
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    result = purerl.sweep(agent, 4, num_steps=20_000, points=10, progress=False)
    assert len(rows) == 40
    for row in rows:
        point = row["step"] // 2000 - 1
        assert row["q_error"] == result.curves["q_error"][0, row["seed"], point]


def test_random_search(monkeypatch, tmp_path, capsys):
    made = follow("Random search", monkeypatch, tmp_path)
    regrets = made["result"].final["policy_regret"]
    assert regrets.shape == (8, 8) and len(made["table"]) == 8
    assert "learning_rate" in capsys.readouterr().out


def test_tensorboard(monkeypatch, tmp_path):
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
    follow("TensorBoard", monkeypatch, tmp_path)
    assert len(list(tmp_path.glob("runs/0-*/events*"))) == 2


def test_weights_and_biases(monkeypatch, tmp_path):
    pytest.importorskip("wandb", reason="wandb is not installed")
    follow("Weights & Biases", monkeypatch, tmp_path)
    assert len(list(tmp_path.glob("wandb/offline-run-*"))) == 2


def test_search_with_optuna(monkeypatch, tmp_path):
    optuna = pytest.importorskip("optuna", reason="optuna is not installed")
    study = follow("Search with Optuna", monkeypatch, tmp_path)["study"]
    assert len(study.trials) == 12
    assert all(trial.state == optuna.trial.TrialState.COMPLETE for trial in study.trials)
    assert np.isfinite(study.best_value)
