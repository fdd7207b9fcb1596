"""Settings for every test."""

import os
import tempfile
from pathlib import Path

import jax
import pytest
from hypothesis import settings

# Examples follow from the test's name alone, so that a failure is the same everywhere;
# an example has no deadline, because the first one compiles.
settings.register_profile("purerl", derandomize=True, deadline=None, max_examples=25)
settings.load_profile("purerl")

# What one process of a test run has compiled, the others load: compiling is most of the
# time. The folder is the first process's, and goes when that ends. Processes that tests
# start compile on their own, unless they are given `quick.environment`.
if "PURERL_TESTS_COMPILED" not in os.environ:
    folder = tempfile.TemporaryDirectory(prefix="purerl-tests-compiled-")
    os.environ["PURERL_TESTS_COMPILED"] = folder.name
jax.config.update("jax_compilation_cache_dir", os.environ["PURERL_TESTS_COMPILED"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)

from tests import quick  # noqa: E402 - compiles, and what compiles first finds the folder


class Compiling:
    """Compiles quickly, except for tests marked as `optimized` or as `slow`, which run
    long, and for examples in docstrings."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item):
        is_test = item.path.is_relative_to(Path(__file__).parent)
        optimized = any(item.get_closest_marker(name) for name in ("optimized", "slow"))
        quick.compile_by_default(quick.UNOPTIMIZED if is_test and not optimized else {})


def pytest_configure(config):
    optimized = "optimized: about the bits or the rounding of programs as users compile them"
    config.addinivalue_line("markers", optimized)
    # As a plugin, it sees examples outside this folder, too.
    config.pluginmanager.register(Compiling())
    quick.compile_by_default(quick.UNOPTIMIZED)  # while tests are collected
