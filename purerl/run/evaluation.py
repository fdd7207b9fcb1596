"""Evaluation of learned policies: exact in a finite MDP, by episodes elsewhere.

An evaluation is a pair of pure functions: ``prepare(agent)`` computes once what does
not change during learning, and
``evaluation(agent, snapshot, key, prepared) -> {name: []}`` evaluates a snapshot.
"""

from typing import Any, Protocol

import jax
import jax.numpy as jnp

from purerl import mdp
from purerl.agents.base import Agent, start_state
from purerl.checks import check_choice, check_size, refusal, shown
from purerl.mdp.policy_iteration import SMALL
from purerl.pytree import Node, static


class Evaluation(Protocol):
    """Hashable, so that it can be part of a compiled program's identity.

    One derived from :class:`~purerl.pytree.Node`, with static fields, can also be read
    back from the folder of a run.
    """

    def prepare(self, agent: Any) -> Any:
        """The part that depends only on the agent's hyperparameters and environment."""
        ...

    def __call__(
        self, agent: Any, snapshot: Any, key: jax.Array, prepared: Any
    ) -> dict[str, jax.Array]:
        """Named measures of a snapshot, each ``[]``. The key is consumed."""
        ...


def check_evaluation(owner: str, evaluation: Any) -> None:
    """Check that something is an evaluation.

    Raises:
        ValueError: names it.
    """
    is_made = callable(evaluation) and not isinstance(evaluation, type)
    if not (is_made and hasattr(evaluation, "prepare")):
        allowed = "an evaluation, such as Episodes() or Exact()"
        raise refusal(owner, "evaluation", shown(evaluation), allowed)


class Episodes(Node):
    """``evaluation_return``: mean undiscounted return of ``agent.act`` over episodes.

    As in training, the return is the one that the environment reports, if it does: with
    :class:`~purerl.envs.wrappers.EpisodeStatistics` inside a wrapper that changes
    rewards, that of the original ones.

    Attributes:
        episodes: how many.
        max_steps: an episode that has not ended after so many steps counts with its
            return so far, NaN where the environment reports returns; this is how
            environments without a time limit are evaluated.
        greedy: whether agents with a stochastic policy take its most probable action,
            ``agent.greedy``, instead of drawing one.
    """

    episodes: int = static(default=100)
    max_steps: int = static(default=10_000)
    greedy: bool = static(default=False)

    def __post_init__(self):
        check_size(self, "episodes", "max_steps")
        check_choice(self, greedy=(False, True))

    def prepare(self, agent):
        return None

    def __call__(self, agent, snapshot, key, prepared):
        env = agent.env
        reset_key, step_key = jax.random.split(key)

        def act(key, observation):
            if self.greedy and hasattr(agent, "greedy"):
                return agent.greedy(snapshot, observation)
            return agent.act(snapshot, key, observation)

        def step(episode):
            t, env_states, returns, running = episode
            keys = jax.random.split(jax.random.fold_in(step_key, t), (self.episodes, 2))
            observations = jax.vmap(env.observe)(env_states)
            actions = jax.vmap(act)(keys[:, 0], observations)
            env_states, outcome = jax.vmap(env.step)(keys[:, 1], env_states, actions)
            if "episode_return" in outcome.metrics:
                total, count = outcome.metrics["episode_return"]
                so_far = jnp.where(outcome.done, total / count, jnp.nan)
            else:
                so_far = returns + outcome.reward
            returns = jnp.where(running, so_far, returns)
            return t + 1, env_states, returns, running & ~outcome.done

        def unfinished(episode):
            t, _, _, running = episode
            return (t < self.max_steps) & running.any()

        reset_keys = jax.random.split(reset_key, self.episodes)
        start = jax.vmap(start_state, (None, None, 0))(agent, snapshot, reset_keys)
        running = jnp.ones(self.episodes, bool)
        first = jnp.int32(0), start, jnp.zeros(self.episodes, jnp.float32), running
        _, _, returns, _ = jax.lax.while_loop(unfinished, step, first)
        return {"evaluation_return": jnp.mean(returns)}


class Exact(Node):
    r"""Comparison with the exact solution of ``agent.env.mdp``, which has no time
    limit.

    For agents with ``discount`` and ``probabilities``, and the first measure for those
    that have ``values``, too.

    - ``q_error``: :math:`\max_{s, a} |Q(s, a) - Q^*(s, a)|` over the states in which an
      action can ever be taken.
    - ``policy_value``: :math:`\sum_s \rho_0(s) v_\pi(s)`, the expected discounted
      return of the learned policy :math:`\pi`, stochastic or not.
    - ``policy_regret``: the optimum less ``policy_value``.
    - ``greedy_regret``: the same of the policy that takes its most probable action, for
      agents that have one, ``greedy(snapshot, observation)``.

    A measure is NaN where the possible errors of the solutions, at the precision of the
    model, are not small beside them; ``-inf`` is a value, that of a policy at discount
    1 which loses without end.
    """

    def prepare(self, agent):
        if callable(agent.discount):
            allowed = "a number, for an exact evaluation"
            raise refusal(type(agent).__name__, "discount", repr(agent.discount), allowed)
        return mdp.solve(agent.env.mdp, agent.discount), mdp.reachable(agent.env.mdp)

    def __call__(self, agent, snapshot, key, prepared):
        optimum, reachable = prepared
        model = agent.env.mdp
        observations = jax.vmap(agent.env.observe)(agent.env.states())
        measures = {}
        if hasattr(agent, "values"):
            q = jax.vmap(agent.values, (None, 0))(snapshot, observations)
            error = jnp.abs(q - optimum.q)
            counts = reachable[:, None] & model.available
            measures["q_error"] = jnp.max(error, where=counts, initial=0)
        best, of_best = _from_start(model, optimum)

        def value_and_regret(pi):
            found = mdp.evaluate_policy(model, pi, agent.discount)
            value, of_value = _from_start(model, found)
            size = SMALL * jnp.maximum(jnp.abs(value), jnp.abs(best))
            value = jnp.where(of_value <= size, value, jnp.nan)
            return value, jnp.where(of_best <= size, best - value, jnp.nan)

        pi = jax.vmap(agent.probabilities, (None, 0))(snapshot, observations)
        value, regret = value_and_regret(pi)
        measures |= {"policy_value": value, "policy_regret": regret}
        if hasattr(agent, "greedy"):
            actions = jax.vmap(agent.greedy, (None, 0))(snapshot, observations)
            certain = jax.nn.one_hot(actions, model.num_actions, dtype=pi.dtype)
            measures["greedy_regret"] = value_and_regret(certain)[1]
        return measures


def _from_start(model, solution):
    """The value of the start, and the bound on its error; zero where none is known."""
    starts = model.initial > 0
    errors = jnp.where(starts & jnp.isfinite(solution.errors), solution.errors, 0)
    value = jnp.sum(jnp.where(starts, model.initial * solution.values, 0))
    return value, jnp.sum(model.initial * errors)


class ExactValues(Node):
    r"""Comparison of predictions with the exact values of ``agent.env.mdp``.

    For agents with ``value``, ``discount`` and ``target_probabilities``.

    - ``value_error``: the root of the mean of :math:`(\hat v(s) - v_\pi(s))^2` over the
      states in which an action can ever be taken.
    """

    def prepare(self, agent):
        model = agent.env.mdp
        pi = jax.vmap(agent.target_probabilities)(jnp.arange(agent.env.num_states, dtype=jnp.int32))
        values = mdp.evaluate_policy(model, pi, agent.discount).values
        return values, mdp.reachable(model)

    def __call__(self, agent, snapshot, key, prepared):
        values, reachable = prepared
        states = jnp.arange(agent.env.num_states, dtype=jnp.int32)
        predicted = jax.vmap(agent.value, (None, 0))(snapshot, states)
        squared = (predicted - values) ** 2
        return {"value_error": jnp.sqrt(jnp.mean(squared, where=reachable))}


class ExactGain(Node):
    """Comparison with the largest average reward of ``agent.env.mdp``.

    For agents with ``gain`` and ``probabilities``.

    - ``gain_error``: distance of the estimate from the largest average reward.
    - ``policy_gain``: average reward of the learned policy, from the start.
    - ``policy_regret``: the largest average reward less ``policy_gain``.
    """

    def prepare(self, agent):
        return mdp.optimal_average_reward(agent.env.mdp).gain

    def __call__(self, agent, snapshot, key, prepared):
        model = agent.env.mdp
        observations = jax.vmap(agent.env.observe)(agent.env.states())
        pi = jax.vmap(agent.probabilities, (None, 0))(snapshot, observations)
        gain = jnp.sum(model.initial * mdp.gains(model, pi))
        return {
            "gain_error": jnp.abs(agent.gain(snapshot) - prepared),
            "policy_gain": gain,
            "policy_regret": prepared - gain,
        }


# What an agent offers, and how it is then evaluated if the environment has a model.
_EXACT = (
    ("gain", "probabilities", ExactGain()),
    ("value", "target_probabilities", ExactValues()),
    ("probabilities", "discount", Exact()),
)


def default(agent: Agent) -> Evaluation:
    """The exact evaluation that environment and agent allow, or else by episodes."""
    if hasattr(agent.env, "mdp"):
        for first, second, evaluation in _EXACT:
            if hasattr(agent, first) and hasattr(agent, second):
                return evaluation
    return Episodes()
