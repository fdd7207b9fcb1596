"""Compiling quickly: for tests of what a program computes, not of its speed or of the
last bits that the optimizer leaves."""

import functools

import jax

# The older of XLA's code generators takes half the time, and its programs are about as
# fast.
OLDER = {"xla_cpu_use_fusion_emitters": False}
# With no optimization, too, it takes a quarter.
UNOPTIMIZED = OLDER | {"xla_backend_optimization_level": 0}

jit = functools.partial(jax.jit, compiler_options=UNOPTIMIZED)
optimizing_jit = functools.partial(jax.jit, compiler_options=OLDER)
