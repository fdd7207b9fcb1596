"""The tour runs from start to end, and is stored without outputs."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]


@pytest.fixture
def tour():
    notebook = nbformat.read(ROOT / "experiments" / "tour.ipynb", as_version=4)
    nbformat.validate(notebook)
    return notebook


def test_the_tour_is_stored_without_outputs(tour):
    for cell in tour.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
        assert not cell.metadata


@pytest.mark.slow
def test_the_tour_runs(tour, tmp_path, monkeypatch):
    # No kernel and no settings of the user's; files land in a folder of their own.
    for name in ("JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(tour, timeout=600, kernel_name="python3", resources=resources).execute()

    shown = [text(cell) for cell in tour.cells if cell.cell_type == "code"]
    assert "0.97560" in shown[1]  # value iteration
    assert "0.97560" in shown[2]  # by hand
    assert "-7.000 [-7.000, -7.000]" in shown[3]  # the shortest way without wind
    assert "0.1805 [" in shown[4]  # the value of the greedy policy ...
    assert shown[5].startswith("0.1804")  # ... is the optimum
    assert "learning_rate=0.002" in shown[7]
    assert "image/gif" in tour.cells[-1].outputs[-1]["data"]


def text(cell):
    """What a cell shows, as plain text."""
    parts = [output.get("text") or output["data"]["text/plain"] for output in cell.outputs]
    return "\n".join(parts)
