r"""Sequences of tokens as finite models, and exact answers about whole sequences.

A policy over tokens writes a sequence :math:`y = (y_1, \ldots, y_T)` token by token:
the state is the prefix written so far, the action the next token, and the last token
ends the episode and pays the reward of the whole, :math:`r(y)`. A language model is
such a policy. Over all sequences of one length the prefixes are a tree
(:func:`prefix_tree`); over a list of sequences of any lengths they are a trie
(:func:`trie`), in which a token is available only if a sequence of the list goes on
with it.

The probabilities of whole sequences are their *law*, float ``[N]``. :func:`law` and
:func:`policy_of` lead from a policy to its law and back, so that a question may be
asked where it is simpler:

=========================== ================================== =======================
question                    of a policy, ``[S, A]``            of a law, ``[N]``
=========================== ================================== =======================
expected reward             ``expected_return(mdp, pi, 1.0)``  ``law @ reward``
distance from a reference   ``trajectory_kl(mdp, pi, prior)``  ``kl_divergence(p, q)``
optimum with a KL penalty   ``soft_optimal(..., prior=prior)`` ``gibbs(...)``
=========================== ================================== =======================

Both columns have equal answers. States are ordered by the length of their prefixes,
then lexicographically, and the empty prefix is state 0.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purerl.checks import AT_LEAST_ONE, POSITIVE, check_values, refusal, shown, whole
from purerl.mdp.divergence import gibbs, kl_divergence
from purerl.mdp.model import ArrayLike, FiniteMDP, action_probabilities, is_concrete
from purerl.pytree import Node

PADDING = -1  # where a prefix or a sequence has ended


class SequenceTree(Node):
    """Sequences of tokens, and the model in which they are written token by token.

    It is made by :func:`prefix_tree` or :func:`trie`. Arrays of tokens are padded with
    ``PADDING``.

    Attributes:
        mdp: the model. Its states are the ``S`` prefixes of sequences, its actions the
            tokens, of which those are available with which a sequence goes on. Every
            action has one outcome; the last token of a sequence ends the episode.
        prefixes: the tokens of each state, int32 ``[S, T]``.
        tokens: the tokens of each sequence, int32 ``[N, T]``.
        states: the states in which these are chosen, int32 ``[N, T]``, padded likewise.
    """

    mdp: FiniteMDP
    prefixes: jax.Array
    tokens: jax.Array
    states: jax.Array

    @property
    def _ends(self):
        """The last state and the last token of each sequence: an index of actions."""
        last = jnp.sum(self.tokens != PADDING, axis=-1, keepdims=True) - 1
        return tuple(
            jnp.take_along_axis(path, last, axis=-1)[..., 0] for path in (self.states, self.tokens)
        )

    @property
    def reward(self) -> jax.Array:
        """The reward of each sequence, float ``[N]``."""
        return self.mdp.reward[..., 0][self._ends]

    def with_reward(self, reward: ArrayLike) -> "SequenceTree":
        """The same sequences with other rewards, float ``[N]``.

        Raises:
            ValueError: ``reward`` has another shape.
        """
        size = self.tokens.shape[0]
        if np.shape(reward) != (size,):
            raise refusal("SequenceTree", "reward", np.shape(reward), f"({size},)", "has shape")
        table = jnp.zeros_like(self.mdp.reward).at[(*self._ends, 0)].set(reward)
        return self.replace(mdp=self.mdp.replace(reward=table))


def _as_rewards(owner, reward, size):
    """Rewards of sequences as floats, ``[N]``."""
    reward = jnp.asarray(reward)
    if reward.ndim != 1 or size not in (None, reward.size):
        allowed = "[N], one number for each sequence" if size is None else f"({size},)"
        raise refusal(owner, "reward", reward.shape, allowed, "has shape")
    return reward if jnp.issubdtype(reward.dtype, jnp.floating) else reward.astype(float)


def _check_num_tokens(owner, num_tokens, least):
    count = whole(num_tokens)
    if count is None or count < least:
        allowed = f"a whole number of at least {least}"
        raise refusal(owner, "num_tokens", shown(num_tokens), allowed)
    return count


def _grow(tokens, num_actions, reward):
    """The tree of sequences of which none is the beginning of another.

    Args:
        tokens: int ``[N, T]``, padded.
        num_actions: ``A``.
        reward: float ``[N]``.
    """
    size, longest = tokens.shape
    present = tokens != PADDING
    goes_on = np.pad(present[:, 1:], ((0, 0), (0, 1)))
    here = np.zeros(size, int)  # the state of each sequence
    states = np.full_like(tokens, PADDING)
    prefixes = [np.full((1, longest), PADDING)]
    edges = []  # state and token as one number, and the state that follows
    count = 1
    for t in range(longest):
        states[:, t] = np.where(present[:, t], here, PADDING)
        edge = here * num_actions + tokens[:, t]
        longer = np.flatnonzero(goes_on[:, t])
        new, first, place = np.unique(edge[longer], return_index=True, return_inverse=True)
        edges.append((new, count + np.arange(len(new))))
        here[longer] = count + place
        written = np.arange(longest) <= t
        prefixes.append(np.where(written, tokens[longer[first]], PADDING))
        count += len(new)
    next_state = np.repeat(np.arange(count), num_actions)
    for edge, reached in edges:
        next_state[edge] = reached
    pair = states * num_actions + tokens
    available = np.zeros(count * num_actions, bool)
    available[pair[present]] = True
    terminated = np.zeros_like(available)
    terminated[pair[present & ~goes_on]] = True

    shape = (count, num_actions, 1)
    known = is_concrete(reward)
    paid = np.zeros(count * num_actions, reward.dtype)
    if known:  # in NumPy, so that making a tree compiles nothing
        paid[pair[present & ~goes_on]] = reward
    tree = SequenceTree(
        mdp=FiniteMDP(
            probability=np.ones(shape, reward.dtype),
            next_state=next_state.reshape(shape),
            reward=paid.reshape(shape),
            terminated=terminated.reshape(shape),
            initial=(np.arange(count) == 0).astype(reward.dtype),
            available=available.reshape(shape[:2]),
        ),
        prefixes=jnp.asarray(np.concatenate(prefixes), jnp.int32),
        tokens=jnp.asarray(tokens, jnp.int32),
        states=jnp.asarray(states, jnp.int32),
    )
    return tree if known else tree.with_reward(reward)


def prefix_tree(reward: ArrayLike, num_tokens: int) -> SequenceTree:
    """All sequences of one length.

    Args:
        reward: of the ``N = V**T`` sequences in lexicographic order, float ``[N]``: the
            sequence of number ``n`` has the digits of ``n`` to the base ``V``. Of an
            array ``[V, ..., V]``, indexed by tokens, give ``reward.ravel()``.
        num_tokens: ``V``, at least 2. Static.

    Returns:
        A tree whose model has ``S = (V**T - 1) / (V - 1)`` states and ``A = V``
        actions, which are all available everywhere.

    Raises:
        ValueError: an argument that is not allowed, or the number of rewards is no
            power of ``num_tokens``.

    Example:
        >>> tree = prefix_tree([0.0, 1.0, 2.0, 3.0], num_tokens=2)
        >>> tree.tokens.tolist()
        [[0, 0], [0, 1], [1, 0], [1, 1]]
        >>> tree.prefixes.tolist()
        [[-1, -1], [0, -1], [1, -1]]
    """
    owner = "prefix_tree"
    base = _check_num_tokens(owner, num_tokens, least=2)
    rewards = _as_rewards(owner, reward, None)
    length = 1
    while base**length < rewards.size:
        length += 1
    if base**length != rewards.size:
        allowed = f"a power of num_tokens, {base}"
        raise refusal(owner, "reward", f"{rewards.size} numbers", allowed, "has")
    digits = np.arange(rewards.size)[:, None] // base ** np.arange(length - 1, -1, -1) % base
    return _grow(digits, base, rewards)


def trie(sequences: Sequence[Sequence[int]], reward: ArrayLike, num_tokens: int) -> SequenceTree:
    """The sequences of a list, which may differ in length.

    A sequence ends with one more token, the last action: it takes part in the law like
    any other token, and decides between a sequence and its continuations. It is added
    here, and ``tokens`` of the result has it.

    Args:
        sequences: ``N`` different ones, of tokens in ``[0, V)``, without the one that
            ends them. Static.
        reward: of each sequence, float ``[N]``.
        num_tokens: ``V``. Static.

    Returns:
        A tree whose model has ``A = V + 1`` actions, and a state for each prefix of a
        sequence, the whole sequence included.

    Raises:
        ValueError: an argument that is not allowed; names the sequence.

    Example:
        The sequences (0), (0, 1) and (1), over two tokens:

        >>> tree = trie([[0], [0, 1], [1]], [0.0, 1.0, 2.0], num_tokens=2)
        >>> tree.tokens.tolist()
        [[0, 2, -1], [0, 1, 2], [1, 2, -1]]
        >>> tree.prefixes.tolist()
        [[-1, -1, -1], [0, -1, -1], [1, -1, -1], [0, 1, -1]]
        >>> tree.mdp.available[1].tolist()  # after 0, on to (0, 1) or to the end
        [False, True, True]
    """
    owner = "trie"
    end = _check_num_tokens(owner, num_tokens, least=1)
    if len(sequences) == 0:
        raise refusal(owner, "sequences", "empty", "one sequence or more")
    longest = max(map(len, sequences)) + 1
    tokens = np.full((len(sequences), longest), PADDING)
    numbers: dict[tuple[int, ...], int] = {}
    for n, sequence in enumerate(sequences):
        given = np.asarray(sequence)
        integer = given.size == 0 or np.issubdtype(given.dtype, np.integer)
        if not (given.ndim == 1 and integer and np.all((given >= 0) & (given < end))):
            allowed = f"a list of tokens in [0, {end})"
            raise refusal(owner, f"sequence {n}", shown(sequence), allowed)
        row = tuple(given.tolist())
        if row in numbers:
            raise refusal(owner, f"sequence {n}", f"that of {numbers[row]}", "different ones")
        numbers[row] = n
        tokens[n, : len(row) + 1] = (*row, end)
    return _grow(tokens, end + 1, _as_rewards(owner, reward, len(sequences)))


def law(tree: SequenceTree, policy: ArrayLike) -> jax.Array:
    r"""The law of the sequences that a policy writes.

    :math:`p(y) = \prod_t \pi(y_t \mid y_1, \ldots, y_{t-1})`, where the token that ends
    a sequence counts like any other.

    Args:
        tree: the sequences.
        policy: int ``[S]`` or float ``[S, A]``.

    Returns:
        float ``[N]``; it sums to one.

    Raises:
        ValueError: ``policy`` is not a policy for ``tree.mdp``.

    Example:
        >>> tree = trie([[0], [0, 1], [1]], [0.0, 1.0, 2.0], num_tokens=2)
        >>> uniform = tree.mdp.available / tree.mdp.available.sum(axis=1, keepdims=True)
        >>> law(tree, uniform).tolist()
        [0.25, 0.25, 0.5]
    """
    return _law(tree.states, tree.tokens, action_probabilities(tree.mdp, policy))


@jax.jit
def _law(states, tokens, pi):
    chosen = pi[states, tokens]
    return jnp.prod(jnp.where(tokens == PADDING, 1, chosen), axis=-1)


def policy_of(tree: SequenceTree, law: ArrayLike) -> jax.Array:
    r"""The policy that writes sequences of a given law.

    :math:`\pi(a \mid s)` is the probability of the sequences that continue the prefix
    :math:`s` with :math:`a`, given those that begin with :math:`s`. It is uniform over
    the available tokens after prefixes of probability zero.

    Args:
        tree: the sequences.
        law: float ``[N]``, or weights, such as how often each sequence was seen.

    Returns:
        float ``[S, A]``.
    """
    return _policy_of(tree, jnp.asarray(law, tree.mdp.reward.dtype))


@jax.jit
def _policy_of(tree, law):
    weights = jnp.where(tree.tokens == PADDING, 0, law[:, None])
    passing = jnp.zeros(tree.mdp.available.shape, weights.dtype)
    passing = passing.at[tree.states, tree.tokens].add(weights)
    count = jnp.sum(tree.mdp.available, axis=-1, keepdims=True, dtype=weights.dtype)
    total = jnp.sum(passing, axis=-1, keepdims=True)
    conditional = passing / jnp.where(total > 0, total, 1)
    return jnp.where(total > 0, conditional, tree.mdp.available / count)


def best_of_n(law: ArrayLike, reward: ArrayLike, n: int | float | jax.Array) -> jax.Array:
    r"""The law of the best of ``n`` independent sequences.

    With :math:`F(y)` the probability of a reward of at most :math:`r(y)`, and
    :math:`F(y^-)` that of less, the best has the reward of :math:`y` with probability
    :math:`F(y)^n - F(y^-)^n`. Sequences of equal reward share it in proportion to their
    own probabilities, as the first of the best does. Beirami et al., "Theoretical
    guarantees on the best-of-n alignment policy" (2024).

    Args:
        law: of one sequence, float ``[N]``; it is normalized.
        reward: float ``[N]``.
        n: the number of sequences, at least 1.

    Returns:
        float ``[N]``.

    Raises:
        ValueError: ``n`` is less than 1.

    Example:
        The better of two, where two of the sequences are equally good:

        >>> best_of_n([0.5, 0.25, 0.25], [0.0, 1.0, 1.0], 2).tolist()
        [0.25, 0.375, 0.375]
    """
    check_values("best_of_n", {"n": n}, {"n": AT_LEAST_ONE})
    return _best_of_n(jnp.asarray(law), jnp.asarray(reward), n)


@jax.jit
def _best_of_n(law, reward, n):
    one = law / jnp.sum(law)
    order = jnp.argsort(reward)
    ascending = reward[order]
    group = jnp.cumsum(jnp.append(False, ascending[1:] != ascending[:-1]))
    mass = jnp.zeros_like(one).at[group].add(one[order])
    of_group, up_to = mass[group], jnp.cumsum(mass)[group]
    above = jnp.append(jnp.cumsum(mass[:0:-1])[::-1], 0)[group]
    # The logarithm of F(y), near zero and near one, and the part of F(y) that is not
    # F(y-): both powers may be nearly equal.
    low = up_to < 0.5
    log_f = jnp.where(
        low,
        jnp.log(jnp.where(low & (up_to > 0), up_to, 1)),
        jnp.log1p(-jnp.where(low, 0, above)),
    )
    part = of_group / jnp.where(up_to > 0, up_to, 1)
    lowest = part >= 1
    without = jnp.log1p(-jnp.where(lowest, 0, part))
    difference = jnp.where(lowest, 1, -jnp.expm1(n * without))
    share = one[order] / jnp.where(of_group > 0, of_group, 1)
    return jnp.zeros_like(one).at[order].set(jnp.exp(n * log_f) * difference * share)


def best_of_n_bound(n: ArrayLike) -> jax.Array:
    r"""The largest divergence of the best of ``n`` from one, :math:`\ln n - (n-1)/n`.

    It is attained in the limit of infinitely many sequences, each of small probability
    and of a reward of its own (Beirami et al., 2024).

    Args:
        n: at least 1.

    Example:
        >>> best_of_n_bound([1, 4]).round(3).tolist()
        [0.0, 0.636]
    """
    n = jnp.asarray(n)
    return jnp.log(n) - (n - 1) / n


class Frontier(NamedTuple):
    """The largest expected rewards at given divergences from a prior.

    Attributes:
        reward: float ``[B]``.
        kl: float ``[B]``.
    """

    reward: jax.Array
    kl: jax.Array


def frontier(prior: ArrayLike, reward: ArrayLike, temperatures: ArrayLike) -> Frontier:
    r"""The frontier of expected reward and divergence from a prior.

    Its points are those of the :func:`~purerl.mdp.divergence.gibbs` laws: no law with a
    divergence of at most ``kl`` has a larger expected reward. As a curve in
    :math:`\mathrm{KL}` the reward has the slope :math:`\tau`.

    Args:
        prior: float ``[N]``.
        reward: float ``[N]``.
        temperatures: :math:`\tau`, above 0, float ``[B]``.

    Raises:
        ValueError: a temperature is not above 0.

    Example:
        >>> points = frontier([0.5, 0.5], [0.0, 1.0], [1e6, 1.0, 1e-3])
        >>> points.reward.round(2).tolist(), points.kl.round(2).tolist()
        ([0.5, 0.73, 1.0], [0.0, 0.11, 0.69])
    """
    temperatures = jnp.asarray(temperatures)
    check_values("frontier", {"temperatures": temperatures}, {"temperatures": POSITIVE})
    return _frontier(jnp.asarray(prior), jnp.asarray(reward), temperatures)


@jax.jit
def _frontier(prior, reward, temperatures):
    prior = prior / jnp.sum(prior)

    def point(temperature):
        best = gibbs(prior, reward, temperature).law
        return Frontier(best @ reward, kl_divergence(best, prior))

    return jax.vmap(point)(temperatures)
