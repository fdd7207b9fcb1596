"""Compiling quickly: for tests of what a program computes, not of its speed or of the
last bits that the optimizer leaves."""

import functools
import os

import jax
from jax._src import compiler

from purerl.run import program


def _if_known(options):
    """The options, or none where this version of XLA does not have them."""
    try:
        jax.jit(lambda x: x, compiler_options=options).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return {}
    return options


# The older of two code generators takes half the time, and its programs are about as
# fast. Later versions of XLA have one only.
OLDER = _if_known({"xla_cpu_use_fusion_emitters": False})
# With no optimization, too, it takes a quarter.
UNOPTIMIZED = OLDER | {"xla_backend_optimization_level": 0}
OPTIMIZED = OLDER | {"xla_backend_optimization_level": 3}

jit = functools.partial(jax.jit, compiler_options=UNOPTIMIZED)
optimizing_jit = functools.partial(jax.jit, compiler_options=OPTIMIZED)


# ---- all other programs --------------------------------------------------------------

_options_of = getattr(compiler, "get_compile_options", None)
_defaults = {}


def _with_defaults(*args, env_options_overrides=None, **kwargs):
    options = _defaults | (env_options_overrides or {})
    return _options_of(*args, env_options_overrides=options, **kwargs)


# JAX itself has options for one function, which exclude it from other compiled
# functions, or for a whole process. Where a version of it has no such function inside,
# tests compile as users do, and take longer.
if _options_of is not None:
    compiler.get_compile_options = _with_defaults


def compile_by_default(options):
    """Compile with these options from now on, unless a program names its own."""
    global _defaults
    if options != _defaults:
        _defaults = options
        jax.clear_caches()
        program._lowered.cache_clear()
        program._compiled.cache_clear()


def environment(options=()):
    """Variables with which a process of its own compiles with these options, and loads
    what others have compiled so."""
    flags = [f"--{name}={str(value).lower()}" for name, value in dict(options).items()]
    return {
        "XLA_FLAGS": " ".join([os.environ.get("XLA_FLAGS", ""), *flags]).strip(),
        "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
