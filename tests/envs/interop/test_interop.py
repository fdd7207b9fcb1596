"""The page of adapters: nothing is imported before it is asked for, and every name on
it exists."""

import subprocess
import sys

import pytest

from purerl.envs import interop
from purerl.mdp import from_gymnasium


def test_nothing_is_imported_before_it_is_asked_for():
    code = """
import sys
import purerl.envs.interop
libraries = {"gymnasium", "gymnax", "jumanji", "navix", "pgx"}
print(libraries & sys.modules.keys())
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "set()\n", shown.stderr


def test_names():
    assert interop.from_gymnasium is from_gymnasium
    assert set(interop.__all__) <= set(dir(interop))
    for name in interop.__all__:
        assert f"``{name}``" in interop.__doc__
    with pytest.raises(AttributeError, match="has no attribute 'from_dm_env'"):
        interop.from_dm_env  # noqa: B018
