"""How good a learnt policy is: by greedy episodes, or exactly where the environment is a finite MDP.

An evaluation is a pair of pure functions: ``prepare(agent)`` works out, once, what does not change while learning, and
``evaluation(agent, state, key, prepared) -> {name: []}`` judges a state.
"""

import dataclasses
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from purerl import mdp
from purerl.agents.base import Agent
from purerl.envs.base import restart


def begin(agent: Agent, state: Any, key: jax.Array) -> Any:
    """A start state of ``agent.env`` for an evaluation, which knows what the environment has kept from learning.

    An agent that was put into another environment than it has learnt in, with states of another structure, and one without
    ``env_state``, begins with a plain reset.
    """
    fresh = agent.env.reset(key)
    if not hasattr(agent, "env_state") or jax.tree.structure(agent.env_state(state)) != jax.tree.structure(fresh):
        return fresh
    return restart(agent.env, key, agent.env_state(state))


class Evaluation(Protocol):
    """Hashable, so that it can be part of a compiled program's identity."""

    def prepare(self, agent: Agent) -> Any:
        """What depends on the agent's hyperparameters and environment alone."""

    def __call__(self, agent: Agent, state: Any, key: jax.Array, prepared: Any) -> dict[str, jax.Array]:
        """The measures of a state, each ``[]``."""


@dataclasses.dataclass(frozen=True)
class GreedyEpisodes:
    """``evaluation_return``: the mean undiscounted return of ``agent.act`` over episodes from the start.

    An episode that is still going on after ``max_steps`` steps counts with what it has collected by then, which is how
    environments without a time limit come to an end here.
    """

    episodes: int = 100
    max_steps: int = 10_000

    def prepare(self, agent):
        return None

    def __call__(self, agent, state, key, prepared):
        env = agent.env
        reset_key, step_key = jax.random.split(key)

        def step(episode):
            t, env_states, returns, running = episode
            keys = jax.random.split(jax.random.fold_in(step_key, t), (self.episodes, 2))
            actions = jax.vmap(agent.act, (None, 0, 0))(state, keys[:, 0], jax.vmap(env.observe)(env_states))
            env_states, outcome = jax.vmap(env.step)(keys[:, 1], env_states, actions)
            returns = returns + jnp.where(running, outcome.reward, 0)
            return t + 1, env_states, returns, running & ~(outcome.terminated | outcome.truncated)

        start = jax.vmap(begin, (None, None, 0))(agent, state, jax.random.split(reset_key, self.episodes))
        first = jnp.int32(0), start, jnp.zeros(self.episodes), jnp.ones(self.episodes, bool)
        _, _, returns, _ = jax.lax.while_loop(lambda e: (e[0] < self.max_steps) & e[3].any(), step, first)
        return {"evaluation_return": jnp.mean(returns)}


@dataclasses.dataclass(frozen=True)
class Exact:
    r"""Against the exact solution of ``agent.env.mdp`` (which knows no time limit), for agents with ``values``.

    - ``q_error``: :math:`\max_{s, a} |Q(s, a) - Q^*(s, a)|` over the states in which an action can ever be taken.
    - ``policy_value``: :math:`\sum_s \rho_0(s) v_\pi(s)`, the discounted return to expect of the greedy policy :math:`\pi`.
    - ``policy_regret``: how far that is from the optimum.
    """

    def prepare(self, agent):
        if callable(agent.discount):
            raise ValueError(f"discount is {agent.discount}; allowed where a policy is judged exactly: a number")
        return mdp.optimal_q(agent.env.mdp, agent.discount), mdp.reachable(agent.env.mdp)

    def __call__(self, agent, state, key, prepared):
        optimal, reachable = prepared
        observations = jax.vmap(agent.env.observe)(agent.env.states())
        q = jax.vmap(agent.values, (None, 0))(state, observations)
        value = mdp.expected_return(agent.env.mdp, mdp.greedy(q), agent.discount)
        best = jnp.sum(agent.env.mdp.initial * optimal.max(axis=1))
        error = jnp.max(jnp.abs(q - optimal), where=reachable[:, None], initial=0)
        return {"q_error": error, "policy_value": value, "policy_regret": best - value}


def default(agent: Agent) -> Evaluation:
    """:class:`Exact` where the environment shows its model, :class:`GreedyEpisodes` elsewhere."""
    return Exact() if hasattr(agent.env, "mdp") else GreedyEpisodes()
