"""Compiling quickly: for tests of what a program computes, not of its speed or of the
last bits that the optimizer leaves."""

import functools

import jax


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

jit = functools.partial(jax.jit, compiler_options=UNOPTIMIZED)
optimizing_jit = functools.partial(jax.jit, compiler_options=OLDER)
