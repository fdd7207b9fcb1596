"""Gradient ascent on the exact expected return: the reference of policy gradients."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from purerl import mdp
from purerl.agents.network import blank, check_module, fit
from purerl.checks import (
    NOT_NEGATIVE,
    POSITIVE,
    UNIT_INTERVAL,
    check_choice,
    check_numbers,
    refusal,
    shown,
)
from purerl.envs.base import HasModel, has_model, mask_unavailable
from purerl.envs.contract import check_environment, check_index
from purerl.networks.fitting import check_network
from purerl.optimizers import BELOW_ONE
from purerl.policy import draw
from purerl.pytree import Node, static
from purerl.random import as_key
from purerl.schedule import Schedule, at, check_schedules


class ExactPolicyGradientState(NamedTuple):
    """State of exact policy gradient ascent, and its snapshot.

    Attributes:
        params: logits, float32 ``[S, A]``, or the parameters of the network.
    """

    params: Any


class ExactPolicyGradient(Node):
    r"""Gradient ascent on the expected return of a softmax policy, computed exactly.

    .. math::
        \theta \leftarrow \theta + \alpha \nabla_\theta J(\theta)
        \quad \text{or} \quad
        \theta \leftarrow \theta + \alpha F^{-1} \nabla_\theta J(\theta), \qquad
        \pi_\theta(a \mid s) \propto e^{f_\theta(s)_a},

    where :math:`J` is the expected discounted return from the start, and
    :math:`\nabla J` and the Fisher matrix :math:`F` come from ``env.mdp``
    (:mod:`purerl.mdp.policy_gradient`). It is what REINFORCE and actor-critic methods
    estimate from samples. With a table and small steps the regret shrinks as
    :math:`1 / t` if episodes start in every state (Mei, Xiao, Szepesvári & Schuurmans,
    "On the global convergence rates of softmax policy gradient methods", ICML 2020);
    natural gradients of a table are soft policy iteration, and in the end it shrinks
    geometrically (Khodadadian, Jhunjhunwala, Varma & Maguluri, "On the linear
    convergence of natural policy gradient algorithm", CDC 2021).

    It takes no transitions. An iteration is one gradient step, and counts as one
    transition wherever transitions are counted. It is evaluated as the stochastic
    policy that it learns.

    Attributes:
        env: an environment with an exact model, of which time limits are not part. A
            network sees observations of integers in ``[0, env.num_states)`` as
            indicator vectors.
        learning_rate: :math:`\alpha`, not negative. A schedule is evaluated at the
            number of iterations.
        discount: :math:`\gamma` in ``[0, 1]``, below 1 for natural gradients.
        damping: :math:`\lambda` above 0, which is added to the diagonal of :math:`F` of
            a network. A table needs none.
        natural: whether steps follow the natural gradient. Static.
        network: None for a table of logits, which starts with the uniform policy; or
            any flax module that maps an observation to ``[A]`` logits. Where it has
            fields ``num_outputs``, ``num_actions``, ``observation_ndim`` or
            ``num_states``, these are filled in. Static.

    Raises:
        ValueError: a field out of range, an environment without a model, or one that
            does not observe the index of its state where there is no network.
    """

    env: HasModel
    learning_rate: float | jax.Array | Schedule = 1.0
    discount: float | jax.Array = 0.99
    damping: float | jax.Array = 1e-3
    natural: bool = static(default=False)
    network: nn.Module | None = static(default=None)

    transitions_per_step = 1
    lanes = 2

    def __post_init__(self):
        owner = type(self).__name__
        check_environment(owner, self.env)
        if not has_model(self.env):
            allowed = "an environment with an exact model, env.mdp"
            raise refusal(owner, "env", shown(self.env), allowed)
        check_schedules(self, learning_rate=NOT_NEGATIVE)
        check_choice(self, natural=(False, True))
        check_numbers(self, discount=BELOW_ONE if self.natural else UNIT_INTERVAL, damping=POSITIVE)
        if self.network is None:
            check_index(owner, self.env)
        else:
            check_module(owner, "network", self.network)
            seen = self.env.observation
            size = self.env.num_actions
            check_network(owner, "network", self._fitted, seen.shape, seen.dtype, size)

    @property
    def _fitted(self) -> nn.Module:
        """The network as the environment needs it."""
        assert self.network is not None
        size = self.env.num_actions
        return fit(self.env, self.network, num_actions=size, num_outputs=size)

    def init(self, key: jax.Array) -> ExactPolicyGradientState:
        if self.network is None:
            shape = self.env.mdp.num_states, self.env.num_actions
            return ExactPolicyGradientState(jnp.zeros(shape, jnp.float32))
        return ExactPolicyGradientState(self._fitted.init(as_key(key), blank(self.env)))

    def step(self, state: ExactPolicyGradientState, t: jax.Array):
        rate = at(self.learning_rate, t)
        direction = self.direction(state.params)
        return ExactPolicyGradientState(
            jax.tree.map(lambda x, d: x + rate * d, state.params, direction)
        ), {}

    def direction(self, params: Any) -> Any:
        """The gradient or natural gradient, a pytree like ``params``."""
        model = self.env.mdp
        if self.network is None:
            if self.natural:
                found = mdp.natural_policy_gradient(model, params, self.discount)
            else:
                found = mdp.policy_gradient(model, params, self.discount).gradient
            return found.astype(params.dtype)
        observations = jax.vmap(self.env.observe)(self.env.states())
        arguments = model, self._logits, params, observations, self.discount
        if self.natural:
            return mdp.natural_parameter_gradient(*arguments, self.damping)
        return mdp.parameter_gradient(*arguments)

    def snapshot(self, state: ExactPolicyGradientState) -> ExactPolicyGradientState:
        return state

    def probabilities(
        self, snapshot: ExactPolicyGradientState, observation: jax.Array
    ) -> jax.Array:
        r""":math:`\pi(\cdot \mid s)`, float32 ``[A]``; 0 for an action that is not
        available."""
        logits = self._logits(snapshot.params, observation)
        return jax.nn.softmax(mask_unavailable(self.env, logits, observation))

    def act(
        self, snapshot: ExactPolicyGradientState, key: jax.Array, observation: jax.Array
    ) -> jax.Array:
        """An action drawn from the policy, int32 ``[]``. The key is consumed."""
        return draw(key, self.probabilities(snapshot, observation))

    def _logits(self, params, observation) -> jax.Array:
        """The logits of the actions, float32 ``[A]``."""
        if self.network is None:
            return params[observation]
        logits: Any = self._fitted.apply(params, observation)
        return logits.reshape(self.env.num_actions)
