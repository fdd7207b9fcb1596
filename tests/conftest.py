"""Settings for every test."""

import os
import tempfile

import jax
from hypothesis import settings

# Examples follow from the test's name alone, so that a failure is the same everywhere;
# an example has no deadline, because the first one compiles.
settings.register_profile("purerl", derandomize=True, deadline=None, max_examples=25)
settings.load_profile("purerl")

# What one process of a test run has compiled, the others load: compiling is most of the
# time. The folder is the first process's, and goes when that ends. Processes that tests
# start compile on their own.
if "PURERL_TESTS_COMPILED" not in os.environ:
    folder = tempfile.TemporaryDirectory(prefix="purerl-tests-compiled-")
    os.environ["PURERL_TESTS_COMPILED"] = folder.name
jax.config.update("jax_compilation_cache_dir", os.environ["PURERL_TESTS_COMPILED"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
