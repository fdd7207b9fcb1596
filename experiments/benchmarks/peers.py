"""Deep agents beside their peers: transitions of a core in a second, one seed.

All programs of a table are compiled in one process, bound to one core, and run in turns
for CPU seconds. The peers are optional and run as they are, on gymnax. What they need
and training does not, such as the services that they report to, is replaced.
"""

import copy
import importlib.util
import os
import sys
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import jax

import purerl
from experiments.benchmarks.deep import EVERY_STEP, THOUSANDS, case, dqn, pqn
from experiments.benchmarks.gymnax_keys import ABSENT, gymnax
from experiments.benchmarks.report import Table
from experiments.benchmarks.timing import Case, Cases, Timings, compiled, measure_in_new_process
from purerl.random import Impl
from purerl.replay import Uniform
from purerl.schedule import linear

try:
    import rejax  # pyright: ignore[reportMissingImports] (optional)
except ImportError:
    rejax = None

IMPLS: tuple[Impl, ...] = ("threefry", "pcg4d")
REJAX, RINGS, STEPS, DQN_GOAL = "rejax", (10_000, 100_000), 1_000, 6
PUREJAXQL, UPDATES, PQN_GOAL = "PureJaxQL", 2, 5
PUREJAXRL, SEEDS, PPO_GOAL = "PureJaxRL", (1, 8), 1.2
NO_REJAX = "rejax is not installed (pip install rejax): nothing to compare with"
# The example of PureJaxRL's own script, with fewer transitions.
PPO: dict[str, Any] = {
    "LR": 2.5e-4,
    "NUM_ENVS": 4,
    "NUM_STEPS": 128,
    "TOTAL_TIMESTEPS": 20 * 4 * 128,
    "UPDATE_EPOCHS": 4,
    "NUM_MINIBATCHES": 4,
    "GAMMA": 0.99,
    "GAE_LAMBDA": 0.95,
    "CLIP_EPS": 0.2,
    "ENT_COEF": 0.01,
    "VF_COEF": 0.5,
    "MAX_GRAD_NORM": 0.5,
    "ACTIVATION": "tanh",
    "ENV_NAME": "CartPole-v1",
    "ANNEAL_LR": True,
    "DEBUG": False,
}


def no_clone(name: str, repository: str) -> str:
    """Say what is missing to compare with a peer, and where it is."""
    return (
        f"{name} is not on PyPI: git clone https://github.com/{repository}, and give its folder in "
        f"the environment variable {name.upper()}; until then there is nothing to compare with"
    )


def old_step(env: Any) -> Any:
    """An environment of gymnax with the step that it had before version 1."""
    from gymnax.wrappers import LegacyStepAPIWrapper

    class OldStep(LegacyStepAPIWrapper):
        # Copies look for methods that the base class looks for in itself for ever.
        def __deepcopy__(self, memo):
            return OldStep(copy.deepcopy(self._env, memo))

    return OldStep(env)


def module_of(path: Path, *missing: str) -> ModuleType:
    """A file of a clone, with names that its training does not use in place of modules.

    Args:
        path: the file.
        missing: modules that it imports.

    Raises:
        FileNotFoundError: it does not exist.
    """
    spec: Any = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    with mock.patch.dict(sys.modules, {name: mock.MagicMock() for name in missing}):
        spec.loader.exec_module(module)
    return module


def rejax_dqn(ring: int) -> Case:
    """rejax's DQN with the settings of ``deep.EVERY_STEP``."""
    if rejax is None:
        raise ImportError(NO_REJAX)
    agent = rejax.DQN.create(
        env="CartPole-v1",
        agent_kwargs={"activation": "relu"},
        ddqn=False,
        num_envs=1,
        num_epochs=1,
        batch_size=EVERY_STEP["batch_size"],
        buffer_size=ring,
        fill_buffer=EVERY_STEP["learning_starts"],
        target_update_freq=EVERY_STEP["target_period"],
        polyak=0.0,
        learning_rate=1e-3,
    )
    agent = agent.replace(env=old_step(agent.env))

    def train(state):
        return jax.lax.fori_loop(0, STEPS, lambda _, state: agent.train_iteration(state), state)

    def build():
        run = compiled(train, agent.init_state(jax.random.key(0)))
        for _ in range(-(-EVERY_STEP["learning_starts"] // STEPS)):
            warm = run()
        return compiled(train, warm)

    return Case(build, STEPS)


def dqns() -> Cases:
    """A perceptron of 64 and 64 on CartPole, an update every step."""
    cases = {(REJAX, f"ring of {ring:,}"): rejax_dqn(ring) for ring in RINGS if rejax}
    return cases | {
        (f"purerl, {impl}", f"ring of {ring:,}"): case(
            dqn(False, EVERY_STEP | {"replay": Uniform(ring)}), 1, 4 * STEPS, impl
        )
        for impl in IMPLS
        for ring in RINGS
    }


def purejaxql(folder: Path) -> Case:
    """PureJaxQL's training with its settings for MinAtar, without its evaluations."""
    import yaml  # which gymnax needs

    package = folder / "purejaxql"
    module: Any = module_of(package / "pqn_minatar.py", "hydra", "omegaconf", "wandb")
    wrapper = module.LogWrapper
    module.LogWrapper = lambda env: old_step(wrapper(env))
    config = yaml.safe_load((package / "config" / "alg" / "pqn_minatar.yaml").read_text())
    transitions = UPDATES * config["NUM_ENVS"] * config["NUM_STEPS"]
    config |= {
        "ENV_NAME": "Breakout-MinAtar",
        "TOTAL_TIMESTEPS": transitions,
        "TOTAL_TIMESTEPS_DECAY": 1e7,
        "TEST_DURING_TRAINING": False,
        "WANDB_MODE": "disabled",
    }
    train = module.make_train(config)
    return Case(partial(compiled, train, jax.random.PRNGKey(0)), transitions)


def pqns(folder: str) -> Cases:
    """The sizes that PureJaxQL's authors chose for MinAtar, on Breakout.

    Args:
        folder: of a clone of PureJaxQL; empty if there is none.
    """
    cases = {(PUREJAXQL, "Breakout"): purejaxql(Path(folder))} if folder else {}
    agent = pqn()
    return cases | {
        (f"purerl, {impl}", "Breakout"): case(agent, 1, UPDATES * agent.transitions_per_step, impl)
        for impl in IMPLS
    }


def purejaxrl(folder: Path, seeds: int) -> Case:
    """PureJaxRL's training of some seeds at once."""
    import gymnax.wrappers

    def log_wrapper(env):
        return old_step(gymnax.wrappers.LogWrapper(env))

    wrappers = SimpleNamespace(
        FlattenObservationWrapper=gymnax.wrappers.FlattenObservationWrapper, LogWrapper=log_wrapper
    )
    with mock.patch.dict(sys.modules, {"wrappers": wrappers}):
        train = module_of(folder / "purejaxrl" / "ppo.py").make_train(dict(PPO))
    keys = jax.random.split(jax.random.PRNGKey(0), seeds)
    build = (
        partial(compiled, train, keys[0])
        if seeds == 1
        else partial(compiled, jax.vmap(train), keys)
    )
    return Case(build, seeds * PPO["TOTAL_TIMESTEPS"])


def ppos(folder: str) -> Cases:
    """PureJaxRL's settings for CartPole, one seed and eight.

    Args:
        folder: of a clone of PureJaxRL; empty if there is none.
    """
    cases = {(PUREJAXRL, f"seeds: {n}"): purejaxrl(Path(folder), n) for n in SEEDS if folder}
    steps = PPO["TOTAL_TIMESTEPS"]
    agent = purerl.PPO(
        env=purerl.make(PPO["ENV_NAME"]),
        learning_rate=linear(PPO["LR"], 0.0, steps),
        entropy_weight=PPO["ENT_COEF"],
        lambda_=PPO["GAE_LAMBDA"],
        num_envs=PPO["NUM_ENVS"],
        rollout_length=PPO["NUM_STEPS"],
        value_clip=PPO["CLIP_EPS"],
    )
    return cases | {
        (f"purerl, {impl}", f"seeds: {n}"): case(agent, n, steps, impl)
        for impl in IMPLS
        for n in SEEDS
    }


def _table(title, timings: Timings, peer, goal, notes) -> Table:
    goals = {place: goal for place in timings if place[0].startswith("purerl")}
    return Table(title, THOUSANDS, timings, peer, goals, True, notes)


def benchmark() -> list[Table]:
    folder, of_ppo = (
        os.environ.get(name, "") if gymnax else "" for name in ("PUREJAXQL", "PUREJAXRL")
    )
    absent = [] if folder else [no_clone(PUREJAXQL, "mttga/purejaxql") if gymnax else ABSENT]
    no_ppo = [] if of_ppo else [no_clone(PUREJAXRL, "luchris429/purejaxrl") if gymnax else ABSENT]
    return [
        _table(
            "DQN, perceptron of 64 and 64, CartPole, an update of 32 every step, one seed",
            measure_in_new_process(__name__, "dqns", cores=1),
            REJAX,
            DQN_GOAL,
            [] if rejax else [NO_REJAX],
        ),
        _table(
            "PQN, 16 convolutions and 128 units, 128 environments, one seed",
            measure_in_new_process(__name__, "pqns", folder, cores=1),
            PUREJAXQL,
            PQN_GOAL,
            absent,
        ),
        _table(
            "PPO, two perceptrons of 64 and 64, CartPole, 4 environments",
            measure_in_new_process(__name__, "ppos", of_ppo, cores=1),
            PUREJAXRL,
            PPO_GOAL,
            no_ppo,
        ),
    ]
