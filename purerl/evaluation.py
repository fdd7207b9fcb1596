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
            return t + 1, env_states, returns, running & ~outcome.done

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


@dataclasses.dataclass(frozen=True)
class ExactValues:
    r"""For agents that predict, with ``value``, ``behaviour`` and ``target``, against the exact values of ``agent.env.mdp``.

    - ``value_error``: the root of the mean of :math:`(\hat v(s) - v_\pi(s))^2` over the states in which an action can ever be
      taken, all counted alike.
    """

    def prepare(self, agent):
        policy = agent.behaviour if agent.target is None else agent.target
        pi = jax.vmap(lambda s: policy.probabilities(agent.seen(s, jnp.int32(0))))(jnp.arange(agent.env.num_states))
        return mdp.evaluate_policy(agent.env.mdp, pi, agent.discount).values, mdp.reachable(agent.env.mdp)

    def __call__(self, agent, state, key, prepared):
        values, reachable = prepared
        learnt = jax.vmap(agent.value, (None, 0))(state, jnp.arange(agent.env.num_states))
        return {"value_error": jnp.sqrt(jnp.mean((learnt - values) ** 2, where=reachable))}


@dataclasses.dataclass(frozen=True)
class ExactGain:
    """For agents that want a large average reward and estimate it, with ``gain``, against the best of ``agent.env.mdp``.

    - ``gain_error``: how far the estimate is from the largest average reward.
    - ``policy_gain``: the average reward of the greedy policy, from the start.
    - ``policy_regret``: how far that is from the optimum.
    """

    def prepare(self, agent):
        return mdp.optimal_average_reward(agent.env.mdp).gain

    def __call__(self, agent, state, key, prepared):
        q = jax.vmap(agent.values, (None, 0))(state, jax.vmap(agent.env.observe)(agent.env.states()))
        gain = jnp.sum(agent.env.mdp.initial * mdp.gains(agent.env.mdp, mdp.greedy(q)))
        return {"gain_error": jnp.abs(agent.gain(state) - prepared), "policy_gain": gain, "policy_regret": prepared - gain}


def default(agent: Agent) -> Evaluation:
    """By greedy episodes, unless the environment shows its model; then exactly, by what the agent estimates."""
    if not hasattr(agent.env, "mdp"):
        return GreedyEpisodes()
    return next((judge for name, judge in _JUDGES.items() if hasattr(agent, name)), Exact())


_JUDGES = {"gain": ExactGain(), "value": ExactValues()}
