r"""Prediction: the values of a policy, learnt while it or another one acts.

Values are linear in features of the states, :math:`\hat v(s) = x(s)^\top w`; with a unit vector for each state, the default,
they are a table. With :math:`\rho = \pi(A \mid S) / b(A \mid S)`, which is 1 where the behaviour is the target, and

.. math:: \delta = R + \gamma (1 - d) \, \hat v(S') - \hat v(S),

=================== ====================================================================== ==================================
method              after a step                                                           goes to, on-policy
=================== ====================================================================== ==================================
TD(0)               :math:`w \leftarrow w + \alpha \rho \delta x`                           :func:`~purerl.mdp.td_fixed_point`
n-step TD           :math:`w \leftarrow w + \alpha \rho (G - x^\top w) x`, n steps later    that of the n-step operator
TD(:math:`\lambda`) :math:`w \leftarrow w + \alpha \delta z`                                :func:`~purerl.mdp.td_fixed_point`
Monte Carlo         :math:`w \leftarrow w + \alpha (\rho G - w)` of the state, at the end   the table of :math:`v_\pi`
=================== ====================================================================== ==================================

A table goes to :math:`v_\pi` under all of them, on-policy or off-policy. Sutton & Barto, *Reinforcement Learning* (2nd ed.,
2018), chapters 6, 7, 9, 11 and 12.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purerl.agents.base import Episode
from purerl.agents.monte_carlo import VISITS, Returns, Weights
from purerl.agents.n_step import Window
from purerl.agents.tabular import check_index
from purerl.agents.traces import TRACES, Traces
from purerl.checks import FINITE, NOT_NEGATIVE, UNIT_INTERVAL, check_choice, check_numbers, check_size
from purerl.envs.base import Environment, Transition, interact
from purerl.policy import EpsilonGreedy, Policy, Seen
from purerl.pytree import Node, static
from purerl.random import as_key
from purerl.schedule import Schedule, at, power


class PredictionState(NamedTuple):
    """What changes while learning.

    Attributes:
        key: constant.
        env_state: of the environment.
        weights: :math:`w`, float32 ``[d]``.
        visits: how often each state was updated, int32 ``[S]``; None unless they are counted.
        memory: what the method keeps beside them.
        episode: for the metrics.
    """

    key: jax.Array
    env_state: Any
    weights: jax.Array
    visits: jax.Array | None
    memory: Any
    episode: Episode


class Step(NamedTuple):
    """A transition as a method of prediction sees it.

    Attributes:
        state, next_state: int32 ``[]``.
        features: :math:`x(S)`, float32 ``[d]``.
        next_features: :math:`x(S')`, zero where the episode terminated, so that every product with it is.
        reward: float32 ``[]``.
        ratio: :math:`\\rho`, float32 ``[]``.
        done: whether the episode has ended.
    """

    state: jax.Array
    next_state: jax.Array
    features: jax.Array
    next_features: jax.Array
    reward: jax.Array
    ratio: jax.Array
    done: jax.Array


class Prediction(Node):
    r"""What methods of prediction share: everything but how they learn from a step. A method adds :meth:`learn`, and where it
    needs more than its weights, :meth:`begin`.

    Attributes:
        env: an environment of ``env.num_states`` states that observes their index.
        discount: :math:`\gamma` in ``[0, 1]``.
        initial_value: :math:`w_0`, one number or float ``[d]``.
        behaviour: the policy that acts. It sees no values; uniform by default, which is what
            ``EpsilonGreedy(1.0)`` is, others are :class:`~purerl.policy.Fixed`.
        target: :math:`\pi`, whose values are learnt; the behaviour by default.
        features: float ``[S, d]``; None for a table.

    Raises:
        ValueError: a number out of its range, or an environment that does not observe the index of its state.
    """

    env: Environment
    discount: float | jax.Array = 0.99
    initial_value: float | jax.Array = 0.0
    behaviour: Policy = EpsilonGreedy(1.0)
    target: Policy | None = None
    features: jax.Array | None = None

    transitions_per_step = 1
    count_visits = False

    def __post_init__(self):
        check_index(self)
        check_numbers(self, discount=UNIT_INTERVAL, initial_value=FINITE)

    def begin(self, weights: jax.Array) -> Any:
        """The memory to start with."""
        return None

    def learn(self, state: PredictionState, step: Step, t: jax.Array) -> PredictionState:
        """The method: ``weights``, ``visits`` and ``memory`` after a step. The rest of the state stays as it is."""
        raise NotImplementedError

    def init(self, key: jax.Array) -> PredictionState:
        reset_key, key = jax.random.split(as_key(key))
        return self.start(key, self.env.reset(reset_key))

    def start(self, key: jax.Array, env_state: Any) -> PredictionState:
        """A state with nothing learnt."""
        size = self.env.num_states if self.features is None else self.features.shape[-1]
        weights = jnp.broadcast_to(jnp.asarray(self.initial_value, jnp.float32), size)
        visits = jnp.zeros(self.env.num_states, jnp.int32) if self.count_visits else None
        return PredictionState(key, env_state, weights, visits, self.begin(weights), Episode.begin())

    def step(self, state: PredictionState, t: jax.Array):
        act_key, env_key = jax.random.split(jax.random.fold_in(state.key, t))
        seen = self.seen(self.env.observe(state.env_state), t)
        env_state, transition = interact(self.env, env_key, state.env_state, self.behaviour.sample(act_key, seen))
        episode, metrics = state.episode.update(transition)
        state = self.learn(state, self.as_step(transition, t), t)
        return state._replace(env_state=env_state, episode=episode), metrics

    def seen(self, observation: jax.Array, t: jax.Array) -> Seen:
        """What the policies may look at: no values."""
        return Seen(observation, jnp.zeros(self.env.num_actions), None, t)

    def as_step(self, transition: Transition, t: jax.Array) -> Step:
        """A transition with its features and its importance ratio."""
        here, there = transition.observation, transition.next_observation
        ratio = jnp.float32(1)
        if self.target is not None:
            seen, action = self.seen(here, t), transition.action
            ratio = self.target.probabilities(seen)[action] / self.behaviour.probabilities(seen)[action]
        next_features = jnp.where(transition.terminated, 0, self.x(there))
        return Step(here, there, self.x(here), next_features, transition.reward, ratio, transition.done)

    def x(self, observation: jax.Array) -> jax.Array:
        """The features of a state, float32 ``[d]``."""
        if self.features is None:
            return jax.nn.one_hot(observation, self.env.num_states)
        return jnp.asarray(self.features, jnp.float32)[observation]

    def value(self, state: PredictionState, observation: jax.Array) -> jax.Array:
        """The value learnt for a state, float32 ``[]``."""
        return self.x(observation) @ state.weights

    def env_state(self, state: PredictionState) -> Any:
        return state.env_state

    def act(self, state: PredictionState, key: jax.Array, observation: jax.Array) -> jax.Array:
        """The target policy's action. It knows no time."""
        policy = self.behaviour if self.target is None else self.target
        return policy.sample(key, self.seen(observation, jnp.int32(0)))


class Incremental(Prediction):
    r"""A method of prediction with a step size.

    Attributes:
        learning_rate: :math:`\alpha`, not negative; a schedule is called with ``t``, or with the number of earlier visits to
            the state that is updated if ``count_visits``.
        count_visits: whether to count visits to each state. Static.
        The others and errors: those of :class:`Prediction`.
    """

    learning_rate: float | jax.Array | Schedule = 0.1
    count_visits: bool = static(default=False)

    def __post_init__(self):
        super().__post_init__()
        check_numbers(self, learning_rate=NOT_NEGATIVE)

    def step_size(self, state: PredictionState, observation: jax.Array, t: jax.Array) -> jax.Array:
        """The learning rate for a state, float32 ``[]``."""
        return at(self.learning_rate, state.visits[observation] if self.count_visits else t)

    def count(self, state: PredictionState, observation: jax.Array, due: bool | jax.Array = True) -> PredictionState:
        """One visit to a state more, if they are counted and it is ``due``."""
        if state.visits is None:
            return state
        return state._replace(visits=state.visits.at[observation].add(jnp.asarray(due, jnp.int32)))


def error(step: Step, weights: jax.Array, discount: jax.Array) -> jax.Array:
    """The temporal-difference error of a step, float32 ``[]``."""
    return step.reward + discount * (step.next_features @ weights) - step.features @ weights


class TD(Incremental):
    r"""TD(0), :math:`w \leftarrow w + \alpha \rho \delta x(S)`, a semi-gradient method. Off-policy and with features it may
    diverge (:func:`purerl.envs.diagnostic.baird_star`). Sutton, "Learning to predict by the methods of temporal differences"
    (Machine Learning 3, 1988); Sutton & Barto (2018), sections 6.1, 9.3 and 11.1.

    Attributes and errors: those of :class:`Incremental`.
    """

    def learn(self, state, step, t):
        delta = error(step, state.weights, at(self.discount, t))
        move = self.step_size(state, step.state, t) * step.ratio * delta
        return self.count(state._replace(weights=state.weights + move * step.features), step.state)


class NStepTD(Incremental):
    r"""TD with targets of :math:`n` steps, :math:`w \leftarrow w + \alpha \rho (G - \hat v(S_\tau)) x(S_\tau)` for

    .. math::
        G = \sum_{i=1}^{n} \gamma^{i-1} R_{\tau+i} + \gamma^n \hat v(S_{\tau+n}), \qquad
        \rho = \prod_{i=0}^{n-1} \frac{\pi(A_{\tau+i} \mid S_{\tau+i})}{b(A_{\tau+i} \mid S_{\tau+i})},

    the sum and the product ending with the episode; its last states are updated at its end, oldest first. Sutton & Barto
    (2018), sections 7.1 and 7.3.

    Attributes:
        n: steps, at least 1. Static.
        The others and errors: those of :class:`Incremental`.
    """

    n: int = static(default=4)

    def __post_init__(self):
        super().__post_init__()
        check_size(self, "n")

    def begin(self, weights):
        return Window.empty(self.n)

    def learn(self, state, step, t):
        window = state.memory.push(step.state, jnp.int32(0), step.reward).act(step.ratio)
        due, returns = window.due(step.done), window.returns(step.next_features @ state.weights, at(self.discount, t))

        def learn(i, state):
            here = window.observations[i]
            x = self.x(here)
            move = self.step_size(state, here, t) * window.ratios[i] * (returns[i] - x @ state.weights)
            state = state._replace(weights=state.weights + jnp.where(due[i], move, 0) * x)
            return self.count(state, here, due[i])

        state = jax.lax.fori_loop(0, self.n, learn, state)
        return state._replace(memory=window.after(step.done))


class TDLambda(Incremental):
    r"""TD with eligibility traces, which off-policy are :math:`z \leftarrow \rho (\gamma \lambda z + x)`. With dutch traces it
    is true online TD(:math:`\lambda`). ``lambda_ = 0`` is :class:`TD`; with dutch traces and a constant step size ``lambda_ =
    1`` is Monte Carlo at the end of every episode. Sutton (1988); van Seijen et al. (2016); Sutton & Barto (2018), sections
    12.2, 12.5 and 12.9.

    Attributes:
        lambda_: :math:`\lambda` in ``[0, 1]``.
        trace: ``"accumulating"``, ``"replacing"``, for tables and features of 0 and 1, or ``"dutch"``, on-policy (see
            :mod:`purerl.agents.traces`). Static.
        The others: those of :class:`Incremental`.

    Raises:
        ValueError: also, dutch traces with a target.
    """

    lambda_: float | jax.Array | Schedule = 0.9
    trace: str = static(default="accumulating")

    def __post_init__(self):
        super().__post_init__()
        check_numbers(self, lambda_=UNIT_INTERVAL)
        check_choice(self, trace=TRACES)
        if self.trace == "dutch" and isinstance(self.target, Policy):
            raise ValueError(f"{type(self).__name__}: target is {self.target}; allowed with dutch traces: None, the behaviour")

    def begin(self, weights):
        return Traces.empty(weights)

    def learn(self, state, step, t):
        discount = at(self.discount, t)
        weights, memory = state.memory.update(
            self.trace,
            state.weights,
            step.features,
            self.step_size(state, step.state, t),
            step.reward + discount * (next_value := step.next_features @ state.weights),
            discount * at(self.lambda_, t),
            next_value,
            step.ratio,
        )
        memory = jax.tree.map(lambda new, first: jnp.where(step.done, first, new), memory, Traces.empty(weights))
        return self.count(state._replace(weights=weights, memory=memory), step.state)


class MonteCarloPrediction(Incremental):
    r"""The average of the returns that followed visits to a state, a table. On-policy :math:`\rho = 1`; off-policy with
    :math:`\rho_i` the product of the importance ratios from visit :math:`i` to the end of the episode, either *ordinary*,

    .. math:: V(S_i) \leftarrow V(S_i) + \alpha \left( \rho_i G_i - V(S_i) \right),

    unbiased and of a variance that may be infinite, or *weighted*, :math:`V(s) = \sum_i \rho_i G_i / \sum_i \rho_i`, which is
    consistent. Sutton & Barto (2018), sections 5.1, 5.5 and 5.6.

    Attributes:
        learning_rate, count_visits: by default the sample average, ``power(1, 1)`` of the number of earlier visits. Not used by
            weighted averages.
        visit: ``"first"``, only the first visit to a state in an episode counts, or ``"every"``. Static.
        weighted: whether importance sampling is weighted. Static.
        The others: those of :class:`Incremental`.

    Raises:
        ValueError: also, ``features`` are given.
    """

    learning_rate: float | jax.Array | Schedule = power(1.0, 1.0)
    count_visits: bool = static(default=True)
    visit: str = static(default="first")
    weighted: bool = static(default=False)

    def __post_init__(self):
        super().__post_init__()
        check_choice(self, visit=VISITS)
        if isinstance(self.features, (jax.Array, np.ndarray)):
            raise ValueError(f"{type(self).__name__}: features are given; allowed: None, for it keeps a table")

    def begin(self, weights):
        return (Weights if self.weighted else Returns).empty(weights)

    def learn(self, state, step, t):
        due = ~state.memory.met[step.state] if self.visit == "first" else jnp.bool_(True)
        alpha = 1.0 if self.weighted else self.step_size(state, step.state, t)
        memory = state.memory.visit(step.state, jnp.where(due, alpha, 0)).act(step.ratio).reward(step.reward, self.discount)
        weights, memory = memory.close(state.weights, step.next_features @ state.weights, step.done)
        return self.count(state._replace(weights=weights, memory=memory), step.state, due)
