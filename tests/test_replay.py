"""The ring against a deque; what is drawn from it against the uniform distribution,
priorities and n-step returns that are known."""

from collections import deque

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.extend import core
from scipy import stats

import purerl.random
from purerl import bellman, replay
from purerl.envs import Transition
from purerl.replay import Draw, Prioritized, Uniform
from purerl.schedule import linear
from tests import quick

PYTREE = {
    "x": jax.ShapeDtypeStruct((2,), jnp.float32),
    "nested": (jnp.uint8(0), jnp.bool_(False)),
    "none": None,
}

write = quick.jit(replay.write)


def items(first, count):
    """Items numbered from ``first`` on, which can be told apart by ``x``."""
    number = np.arange(first, first + count)
    x = np.stack([number, -number], axis=1).astype(np.float32)
    return {"x": x, "nested": ((number % 251).astype(np.uint8), number % 3 == 0), "none": None}


def test_an_empty_ring_has_the_dtypes_of_an_item():
    ring = replay.create(PYTREE, 12)
    assert jax.tree.structure(ring) == jax.tree.structure(PYTREE)
    for leaf, like in zip(jax.tree.leaves(ring), jax.tree.leaves(PYTREE), strict=True):
        assert (leaf.shape, leaf.dtype) == ((12, *like.shape), like.dtype)
        assert not leaf.any()


@given(
    shape=st.sampled_from([(1, 1), (4, 1), (4, 2), (4, 4), (12, 3), (12, 4)]),
    num_writes=st.integers(0, 30),
    earlier=st.sampled_from([0, 0, 0, 2**31 - 12 * 100]),
)
def test_a_ring_holds_what_a_deque_of_its_capacity_holds(shape, num_writes, earlier):
    capacity, count = shape
    earlier -= earlier % count
    ring, model = replay.create(PYTREE, capacity), deque(maxlen=capacity)
    for i in range(num_writes):
        ring = write(ring, items(i * count, count), earlier + i * count)
        model.extend(range(i * count, (i + 1) * count))
    numbers = np.array(model, int)
    slots = (earlier + numbers) % capacity
    for leaf, expected in zip(
        jax.tree.leaves(ring), jax.tree.leaves(items(0, num_writes * count)), strict=True
    ):
        leaf = np.asarray(leaf)
        np.testing.assert_array_equal(leaf[slots], expected[numbers])
        assert not np.delete(leaf, slots, axis=0).any()  # the rest is unwritten


@pytest.mark.parametrize("shape", [(), (4, 4, 3)], ids=str)
@pytest.mark.parametrize("lanes", [None, 4])
def test_a_donated_ring_is_written_in_place(lanes, shape):
    capacity = 2**16
    item = jax.ShapeDtypeStruct(shape, jnp.int32)

    def fill(ring):
        def step(ring, t):
            return replay.write(ring, jnp.full((1, *shape), t), t), None

        return jax.lax.scan(step, ring, jnp.arange(100, dtype=jnp.int32))[0]

    ring = jax.eval_shape(lambda: replay.create(item, capacity))
    if lanes:
        fill = jax.vmap(fill)
        ring = jax.ShapeDtypeStruct((lanes, *ring.shape), ring.dtype)
    memory = jax.jit(fill, donate_argnums=0).lower(ring).compile().memory_analysis()
    assert memory.temp_size_in_bytes < ring.size * 4 / 8 / (lanes or 1)


def test_a_write_must_divide_the_capacity():
    with pytest.raises(AssertionError, match="not divisible"):
        write(replay.create(PYTREE, 10), items(0, 4), 0)


# Replays. A transition's action is its number, from 1 on, since empty slots hold 0.


def like(observation):
    """Shapes and dtypes of a transition."""
    flag = jax.ShapeDtypeStruct((), jnp.bool_)
    return Transition(
        observation=observation,
        action=jax.ShapeDtypeStruct((), jnp.int32),
        reward=jax.ShapeDtypeStruct((), jnp.float32),
        terminated=flag,
        truncated=flag,
        next_observation=observation,
    )


ITEM = like(jax.ShapeDtypeStruct((2,), jnp.float32))


def numbered(first, count):
    """Transitions of which every part tells the number."""
    number = first + 1 + jnp.arange(count, dtype=jnp.int32)
    x = number.astype(jnp.float32)
    return Transition(
        observation=jnp.stack([x, -x], axis=1),
        action=number,
        reward=x / 2,
        terminated=number % 3 == 0,
        truncated=number % 5 == 0,
        next_observation=jnp.stack([x + 1, -x - 1], axis=1),
    )


def drawing(added, batch_size, num_envs=1, discount=0.9, t=0, item=ITEM):
    return Draw(
        item=item,
        batch_size=batch_size,
        num_envs=num_envs,
        added=jnp.int32(added),
        discount=jnp.float32(discount),
        t=jnp.int32(t),
    )


@quick.jit
def add(kind, buffer, transitions, added):
    return kind.write(buffer, transitions, added, 1)


def filled(kind, added, count=1):
    """A buffer to which so many numbered transitions were added."""
    buffer = kind.init(ITEM)
    for first in range(0, added, count):
        buffer = add(kind, buffer, numbered(first, count), first)
    return buffer


def batches(kind, buffer, added, batch_size, num_batches, num_envs=1, impl="pcg4d", seed=0):
    """Many batches, leaves ``[num_batches, batch_size, ...]``, as numpy."""
    keys = jax.random.split(purerl.random.key(seed, impl), num_batches)

    @quick.jit
    @jax.vmap
    def sample(key):
        return kind.sample(buffer, key, drawing(added, batch_size, num_envs))

    return jax.tree.map(np.asarray, sample(keys))


@pytest.mark.parametrize("impl", purerl.random.IMPLEMENTATIONS)
@pytest.mark.parametrize("added", [1, 5, 11, 12, 13, 36, 41])
def test_sampling_is_uniform_over_what_was_written(added, impl):
    capacity, batch_size, num_batches = 12, 16, 2_000
    kind = Uniform(capacity)
    batch = batches(kind, filled(kind, added), added, batch_size, num_batches, impl=impl)
    drawn = batch.transition.action
    assert drawn.shape == (num_batches, batch_size)
    held = np.arange(max(0, added - capacity), added) + 1
    assert np.isin(drawn, held).all()  # never an unwritten slot, which holds 0
    np.testing.assert_array_equal((drawn - 1) % capacity, batch.index)
    assert (batch.weight == 1).all() and batch.weight.dtype == np.float32
    if len(held) > 1:
        counts = np.bincount(drawn.ravel(), minlength=added + 1)[held]
        assert stats.chisquare(counts).pvalue > 1e-6
        # With replacement, and independently: every pair of items is as likely as every
        # other.
        pairs = np.bincount(
            (drawn[:, 0] - held[0]) * len(held) + drawn[:, 1] - held[0],
            minlength=len(held) ** 2,
        )
        assert stats.chisquare(pairs).pvalue > 1e-6


@pytest.mark.parametrize("kind", [Uniform(256), Prioritized(256)], ids=["uniform", "prioritized"])
def test_an_item_is_sampled_whole(kind):
    batch = batches(kind, filled(kind, 256, 256), 256, 64, 1)
    drawn = jax.tree.map(lambda x: x[0], batch.transition)
    assert len(set(drawn.action.tolist())) > 30
    expected = jax.tree.map(lambda x: np.asarray(x)[drawn.action - 1], numbered(0, 256))
    jax.tree.map(np.testing.assert_array_equal, drawn, expected)


def equations(jaxpr):
    for eqn in jaxpr.eqns:
        yield eqn
        for sub in core.jaxprs_in_params(eqn.params):
            yield from equations(sub)


@pytest.mark.parametrize(
    ("kind", "most"),
    # A row of 32 for each item of a batch.
    [(Uniform(2**20), 4 * 32), (Uniform(2**20, n=3), 4 * 32), (Prioritized(2**20, n=3), 32 * 32)],
    ids=["uniform", "three steps", "prioritized"],
)
def test_sampling_costs_as_much_as_the_batch(kind, most):
    buffer = jax.eval_shape(lambda: kind.init(ITEM))
    jaxpr = jax.make_jaxpr(lambda buffer, key, added: kind.sample(buffer, key, drawing(added, 32)))(
        buffer, purerl.random.key(0), 7
    )
    results = [variable.aval.size for eqn in equations(jaxpr.jaxpr) for variable in eqn.outvars]
    assert len(results) > 5 and max(results) <= most
    assert not {"sort", "while"} & {eqn.primitive.name for eqn in equations(jaxpr.jaxpr)}


@pytest.mark.parametrize("kind", [Uniform(12), Prioritized(12)], ids=["uniform", "prioritized"])
def test_a_board_is_held_as_a_row_and_sampled_as_a_board(kind):
    boards = np.random.default_rng(0).random((12, 3, 4, 2)) < 0.5
    transitions = numbered(0, 6)._replace(observation=boards[:6], next_observation=boards[6:])
    item = like(jax.ShapeDtypeStruct((3, 4, 2), jnp.bool_))
    buffer = add(kind, kind.init(item), transitions, 0)
    ring = buffer.ring if isinstance(kind, Prioritized) else buffer
    assert ring.observation.shape == (12, 24) and ring.observation.dtype == bool
    np.testing.assert_array_equal(ring.observation[:6], boards[:6].reshape(6, 24))
    batch = quick.jit(lambda key: kind.sample(buffer, key, drawing(6, 64, item=item)))(
        purerl.random.key(0)
    )
    number = np.asarray(batch.transition.action) - 1
    assert len(set(number)) == 6
    np.testing.assert_array_equal(batch.transition.observation, boards[number])
    np.testing.assert_array_equal(batch.transition.next_observation, boards[6 + number])


@pytest.mark.parametrize("lanes", [None, 4])
def test_priorities_are_written_in_place(lanes):
    """A step that writes, draws and learns copies no level of the tree."""
    kind = Prioritized(2**16, n=2)

    def run(buffer, key):
        def step(buffer, t):
            buffer = kind.write(buffer, numbered(t, 1), t, 1)
            batch = kind.sample(buffer, jax.random.fold_in(key, t), drawing(t + 1, 32))
            return kind.learned(buffer, batch, batch.transition.reward), None

        return jax.lax.scan(step, buffer, 5 + jnp.arange(100, dtype=jnp.int32))[0]

    shapes = jax.eval_shape(lambda: (kind.init(ITEM), purerl.random.key(0)))
    if lanes:
        run = jax.vmap(run)
        shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct((lanes, *x.shape), x.dtype), shapes)
    memory = jax.jit(run, donate_argnums=0).lower(*shapes).compile().memory_analysis()
    assert memory.temp_size_in_bytes < (lanes or 1) * 2**16 * 4 / 4


# Returns of several steps.


def stream(rng, length):
    """An environment's rewards, flags and next states' values."""
    return {
        "rewards": rng.normal(size=length).astype(np.float32),
        "terminated": rng.random(length) < 0.15,
        "truncated": rng.random(length) < 0.15,
        "values_next": rng.normal(size=length).astype(np.float32),
    }


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize(
    ("num_envs", "train_period", "capacity", "iterations"),
    [(1, 1, 24, 17), (1, 1, 24, 61), (3, 1, 24, 21), (2, 4, 48, 14)],
    ids=["not full", "wrapped", "three environments", "four steps a write"],
)
@pytest.mark.parametrize("prioritized", [False, True])
def test_returns_are_those_of_the_stream(
    num_envs, train_period, capacity, iterations, n, prioritized
):
    """Every slot that may be drawn, and no other, and its n-step return against the one
    computed from the whole stream."""
    length, count = iterations * train_period, num_envs * train_period
    rng = np.random.default_rng(n)
    streams = [stream(rng, length) for _ in range(num_envs)]
    # In the order of time, and within a time of environments.
    flat = {name: np.stack([s[name] for s in streams], 1).ravel() for name in streams[0]}
    number = np.arange(length * num_envs, dtype=np.int32)
    observation = np.stack([number, number], 1).astype(np.float32)
    transitions = Transition(
        observation=observation,
        action=number,
        reward=flat["rewards"],
        terminated=flat["terminated"],
        truncated=flat["truncated"],
        next_observation=np.stack([flat["values_next"]] * 2, 1),
    )
    kind = (Prioritized if prioritized else Uniform)(capacity, n)
    buffer = kind.init(ITEM)

    @quick.jit
    def fill(buffer):
        def step(buffer, t):
            items = jax.tree.map(
                lambda x: jax.lax.dynamic_slice_in_dim(jnp.asarray(x), t * count, count),
                transitions,
            )
            return kind.write(buffer, items, t * count, num_envs), None

        return jax.lax.scan(step, buffer, jnp.arange(iterations, dtype=jnp.int32))[0]

    added = iterations * count
    buffer, key = fill(buffer), purerl.random.key(0, "pcg4d")

    @quick.jit
    def sample(discount):
        return kind.sample(buffer, key, drawing(added, 1_000, num_envs, discount))

    batch = sample(0.8)
    drawn = np.asarray(batch.transition.action)
    allowed = np.arange(max(0, added - capacity), added - (n - 1) * num_envs)
    assert set(drawn) == set(allowed)
    np.testing.assert_array_equal(batch.index, drawn % capacity)
    np.testing.assert_array_equal(batch.transition.observation, observation[drawn])

    ended = flat["terminated"] | flat["truncated"]
    steps = np.ones(len(drawn), int)
    for k in range(n - 1):
        steps += (steps == k + 1) & ~ended[drawn + k * num_envs]

    for discount in (0.0, 0.8, 1.0):  # as from a schedule, without compiling again
        batch = sample(discount)
        returns = [bellman.n_step_return(**s, discount=discount, n=n) for s in streams]
        expected = np.stack(returns, 1).ravel()[drawn]
        reward, terminated = batch.transition.reward, batch.transition.terminated
        value = np.where(terminated, 0, np.asarray(batch.transition.next_observation)[:, 0])
        np.testing.assert_allclose(reward + batch.discount * value, expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(batch.discount, discount**steps, rtol=1e-5)
    if n > 1:  # what is to be told apart is there: gamma^n, and the ends of episodes
        assert np.abs(reward + 0.8 * value - expected).max() > 0.1
        across = sum(flat["rewards"][drawn + k * num_envs] for k in range(n))
        assert np.abs(reward - across).max() > 0.1


def test_the_newest_are_drawn_once_their_steps_are_known():
    """Uniformly, counted from the oldest, in a ring that is full."""
    kind = Uniform(12, n=3)
    batch = batches(kind, filled(kind, 20), 20, 16, 2_000)
    held = np.arange(9, 19)
    counts = np.bincount((batch.index.ravel() - 8) % 12, minlength=12)
    assert counts[10:].tolist() == [0, 0]
    assert stats.chisquare(counts[: len(held)]).pvalue > 1e-6


# Priorities.


def probabilities(buffer, capacity):
    leaves = np.asarray(buffer.tree[0], float).ravel()
    assert not leaves[capacity:].any()
    return leaves[:capacity] / leaves.sum()


def rows(level):
    return jnp.sum(level, axis=1)


def check_sums(buffer):
    """Every sum is that of its row, to the last bit."""
    for level, above in zip(buffer.tree, buffer.tree[1:], strict=False):
        sums = np.asarray(above).ravel()
        np.testing.assert_array_equal(sums[: len(level)], quick.jit(rows)(level))
        assert not sums[len(level) :].any()
    assert buffer.tree[-1].shape[0] == 1


def random_run(kind, iterations, count=1, batch_size=8, num_envs=1):
    """Writes, draws and updates by random priorities, of which some are tiny.

    Returns the buffer, and the numbers and slots drawn, ``[iterations, batch_size]``.
    """

    @quick.jit
    def run(kind, buffer, key):
        def step(buffer, t):
            now = t * count
            buffer = kind.write(buffer, numbered(now, count), now, num_envs)
            sample_key, priority_key = jax.random.split(jax.random.fold_in(key, t))
            few = (kind.n - 1) * num_envs - count >= now
            batch = kind.sample(buffer, sample_key, drawing(now + count, batch_size, num_envs))
            priority = jax.random.uniform(priority_key, (batch_size,), jnp.float32) ** 6
            learned = kind.learned(buffer, batch, priority)
            # Before any may be drawn nothing is learned.
            buffer = jax.tree.map(lambda x, y: jnp.where(few, x, y), buffer, learned)
            return buffer, (batch.transition.action, batch.index, few)

        return jax.lax.scan(step, buffer, jnp.arange(iterations, dtype=jnp.int32))

    buffer, drawn = run(kind, kind.init(ITEM), purerl.random.key(3, "pcg4d"))
    return buffer, *map(np.asarray, drawn)


SHAPES = pytest.mark.parametrize(
    ("capacity", "count", "n", "num_envs"),
    [
        (20, 1, 1, 1),
        (32, 4, 3, 2),
        (70, 1, 1, 1),  # no multiple of a row
        (96, 4, 3, 4),
        (1100, 4, 4, 1),  # three levels of sums
        (512, 128, 2, 64),  # writes of several rows
        (1152, 384, 1, 128),
        (64, 64, 2, 16),  # the whole ring at once
    ],
)


@SHAPES
def test_no_slot_is_drawn_that_is_empty_or_too_new(capacity, count, n, num_envs):
    kind = Prioritized(capacity, n)
    iterations = 3 * capacity // count + 5
    buffer, drawn, index, few = random_run(kind, iterations, count, num_envs=num_envs)
    newest = (1 + np.arange(iterations)[:, None]) * count - (n - 1) * num_envs
    oldest = (1 + np.arange(iterations)[:, None]) * count - capacity
    allowed = (drawn > oldest) & (drawn >= 1) & (drawn <= newest)
    assert allowed[~few].all()
    np.testing.assert_array_equal(((drawn - 1) % capacity)[~few], index[~few])
    # All that may be drawn have a priority, and no others.
    added = iterations * count
    held = np.arange(added - capacity, added - (n - 1) * num_envs) % capacity
    positive = np.flatnonzero(probabilities(buffer, capacity))
    np.testing.assert_array_equal(positive, np.sort(held))
    check_sums(buffer)


@SHAPES
def test_draws_are_by_priority(capacity, count, n, num_envs):
    """Chi-square after random writes and updates. What is stratified varies less."""
    kind = Prioritized(capacity, n, exponent=0.7)
    iterations = 2 * capacity // count + 3
    buffer, *_ = random_run(kind, iterations, count, max(8, count), num_envs)
    p = probabilities(buffer, capacity)
    batch = batches(kind, buffer, iterations * count, 16, 4_000, num_envs)
    counts = np.bincount(batch.index.ravel(), minlength=capacity)
    assert not counts[p == 0].any()
    often = p * counts.sum() > 5
    assert often.sum() > 5
    observed = np.append(counts[often], counts[~often].sum())
    expected = np.append(p[often], p[~often].sum()) * counts.sum()
    wide = expected > 0
    assert stats.chisquare(observed[wide], expected[wide]).pvalue > 1e-6
    # Another exponent would be seen.
    other = p[often] ** (0.5 / 0.7)
    seen = counts[often]
    assert stats.chisquare(seen, other / other.sum() * seen.sum()).pvalue < 1e-6


def test_a_slot_without_mass_is_never_found():
    """Whatever rounding makes of a goal: at the ends, between two, beyond the total."""
    level = jnp.array([[9.0] * 5, [0.0, 2.0, 0.0, 3.0, 0.0]])
    goal = jnp.array([0.0, 1.5, 2.0, 4.5, 5.0, 7.0])
    row = jnp.ones(6, jnp.int32)
    entry, left, mass = quick.jit(replay._descend)(level, row, goal)
    np.testing.assert_array_equal(entry - 5, [1, 1, 3, 3, 3, 3])
    np.testing.assert_array_equal(left, [0.0, 1.5, 0.0, 2.5, 3.0, 5.0])
    np.testing.assert_array_equal(mass, [2, 2, 3, 3, 3, 3])


def test_draws_are_stratified_by_rows():
    """With equal priorities in 16 rows and 16 draws, each row is drawn once."""
    kind = Prioritized(256)
    batch = batches(kind, filled(kind, 256, 256), 256, 16, 200)
    np.testing.assert_array_equal(batch.index // 16, np.broadcast_to(np.arange(16), (200, 16)))
    within = np.bincount(batch.index.ravel() % 16, minlength=16)
    assert stats.chisquare(within).pvalue > 1e-6


def test_weighted_draws_have_the_expectation_of_uniform_ones():
    """By enumeration: the sum over slots of p w g is the mean of g."""
    capacity, added = 70, 70
    kind = Prioritized(capacity, exponent=0.9, correction=1.0, normalize="none")
    buffer, *_ = random_run(kind, added)
    p = probabilities(buffer, capacity)
    rng = np.random.default_rng(0)
    g = rng.normal(size=capacity)

    def expectation(kind):
        batch = batches(kind, buffer, added, 16, 4_000)
        weight = np.full(capacity, np.nan)
        weight[batch.index.ravel()] = batch.weight.ravel()
        seen = np.isfinite(weight)
        weight = np.where(seen, weight, 0)
        return (p * weight * g)[seen].sum(), g[seen].sum() / capacity, seen, weight

    got, mean, seen, weight = expectation(kind)
    assert seen.sum() > 60
    assert got == pytest.approx(mean, abs=1e-6)
    np.testing.assert_allclose(weight[seen], 1 / (capacity * p[seen]), rtol=1e-5)
    half, *_ = expectation(kind.replace(correction=0.5))
    assert abs(half - mean) > 0.01


@pytest.mark.parametrize("normalize", ["batch", "buffer", "none"])
def test_weights_by_hand(normalize):
    """Priorities 1, 2, 4, 9 with exponent 1/2, of four of six slots."""
    kind = Prioritized(6, exponent=0.5, correction=linear(0.0, 1.0, 10), normalize=normalize)
    buffer = filled(kind, 4)
    priority = jnp.array([1.0, 2.0, 4.0, 9.0]) - 1e-6
    learned = drawn_batch(jnp.arange(4, dtype=jnp.int32))

    @quick.jit
    def learn_and_sample(buffer, key):
        return kind.sample(kind.learned(buffer, learned, priority), key, drawing(4, 3, t=4))

    batch = learn_and_sample(buffer, purerl.random.key(0, "pcg4d"))
    index = np.asarray(batch.index)
    root = np.array([1, 2**0.5, 2, 3])
    weight = (4 * root / root.sum()) ** -0.4
    divisor = {"batch": weight[index].max(), "buffer": weight[0], "none": 1.0}[normalize]
    np.testing.assert_allclose(batch.weight, weight[index] / divisor, rtol=2e-6)
    assert index.max() <= 3 and len(set(index)) > 1
    if normalize == "batch":
        assert index.min() > 0  # so that the batch's largest is not the buffer's


def drawn_batch(index):
    """A batch of the slots, of which only these are known."""
    return replay.Batch(transition=None, discount=None, weight=None, index=index)  # type: ignore


def test_a_transition_drawn_twice_gets_the_larger_priority():
    kind = Prioritized(40, exponent=1.0, epsilon=0.5)
    buffer = filled(kind, 40)
    index = jnp.array([3, 35, 3, 3, 35, 7], jnp.int32)
    priority = jnp.array([0.5, 7.0, 4.0, 0.0, 1.0, 0.0], jnp.float32)
    learn = quick.jit(kind.learned)
    for order in (np.arange(6), np.arange(6)[::-1]):
        after = learn(buffer, drawn_batch(index[order]), priority[order])
        leaves = np.asarray(after.tree[0]).ravel()
        expected = np.where(np.arange(42) < 40, 1.0, 0.0)  # six rows of seven
        expected[[3, 35, 7]] = 4.5, 7.5, 0.5
        np.testing.assert_array_equal(leaves, expected)
        assert after.tree[1].tolist() == [[6 + 4.5, 6 + 0.5, 7, 7, 7, 4 + 7.5, 0]]
        assert after.largest == 7.5


def test_a_new_transition_has_the_largest_priority_so_far():
    kind = Prioritized(8, exponent=0.5, epsilon=0.25)
    buffer = filled(kind, 4)
    assert buffer.tree[0].ravel().tolist() == [1, 1, 1, 1, 0, 0, 0, 0, 0]
    one = jnp.array([2], jnp.int32)
    for priority in (8.75, 0.0):  # it does not fall
        buffer = kind.learned(buffer, drawn_batch(one), jnp.array([priority]))
    buffer = add(kind, buffer, numbered(4, 1), 4)
    leaves = buffer.tree[0].ravel()
    np.testing.assert_allclose(leaves, [1, 1, 0.5, 1, 3, 0, 0, 0, 0], rtol=1e-6)


def test_exponent_zero_is_uniform():
    kind = Prioritized(70, exponent=0.0, correction=0.7)
    buffer, *_ = random_run(kind, 80)
    np.testing.assert_array_equal(probabilities(buffer, 70), np.float64(1 / 70))
    batch = batches(kind, buffer, 80, 16, 2_000)
    np.testing.assert_allclose(batch.weight, 1, rtol=1e-6)
    assert stats.chisquare(np.bincount(batch.index.ravel(), minlength=70)).pvalue > 1e-6


@pytest.mark.parametrize(
    "iterations", [1_500, pytest.param(40_000, marks=pytest.mark.slow)], ids=str
)
def test_sums_do_not_drift(iterations):
    """After 32 updates an iteration, each sum has the bits of its row's sum."""
    kind = Prioritized(2_000)
    buffer, *_ = random_run(kind, iterations, batch_size=32)
    check_sums(buffer)
    total = np.asarray(buffer.tree[0], float).sum()
    assert float(buffer.tree[-1].sum()) == pytest.approx(total, rel=1e-6)


def test_lanes_are_buffers():
    """Under vmap, with hyperparameters of their own, against one after the other."""
    exponents, corrections = jnp.array([0.0, 0.5, 1.0]), jnp.array([1.0, 0.4, 0.0])
    kinds = jax.vmap(lambda a, b: Prioritized(40, 2).replace(exponent=a, correction=b))(
        exponents, corrections
    )

    def run(kind, key):
        def step(buffer, t):
            buffer = kind.write(buffer, numbered(t, 1), t, 1)
            batch = kind.sample(buffer, jax.random.fold_in(key, t), drawing(t + 1, 8))
            return kind.learned(buffer, batch, jnp.abs(jnp.sin(batch.transition.reward))), batch

        buffer = kind.write(kind.init(ITEM), numbered(0, 1), 0, 1)
        return jax.lax.scan(step, buffer, 1 + jnp.arange(60, dtype=jnp.int32))

    keys = jax.random.split(purerl.random.key(0, "pcg4d"), 3)
    together = quick.jit(jax.vmap(run))(kinds, keys)
    alone = quick.jit(run)
    for lane in range(3):
        one = alone(jax.tree.map(lambda x, i=lane: x[i], kinds), keys[lane])
        for got, expected in zip(jax.tree.leaves(together), jax.tree.leaves(one), strict=True):
            np.testing.assert_allclose(got[lane], expected, rtol=1e-5, atol=1e-7)


def test_a_buffer_that_was_kept_goes_on_with_the_same_bits():
    kind = Prioritized(40, 2)

    @quick.jit
    def run(buffer, key, times):
        def step(buffer, t):
            buffer = kind.write(buffer, numbered(t, 1), t, 1)
            batch = kind.sample(buffer, jax.random.fold_in(key, t), drawing(t + 1, 8))
            return kind.learned(buffer, batch, jnp.abs(jnp.sin(batch.transition.reward))), batch

        return jax.lax.scan(step, buffer, times)

    key, times = purerl.random.key(0, "pcg4d"), 1 + jnp.arange(60, dtype=jnp.int32)
    first = add(kind, kind.init(ITEM), numbered(0, 1), 0)
    whole = run(first, key, times)
    halfway = jax.tree.map(np.asarray, run(first, key, times[:30])[0])
    resumed = run(halfway, key, times[30:])
    jax.tree.map(np.testing.assert_array_equal, resumed[0], whole[0])
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(x, y[30:]), resumed[1], whole[1])


def test_types_do_not_depend_on_x64():
    kind = Prioritized(40, 3, correction=linear(0.4, 1.0, 10), normalize="buffer")

    def run(key):
        buffer = kind.write(kind.init(ITEM), numbered(0, 4), jnp.int32(8), 2)
        batch = kind.sample(buffer, key, drawing(12, 8, 2))
        return buffer, batch, kind.learned(buffer, batch, batch.weight)

    key = purerl.random.key(0, "pcg4d")
    plain = jax.eval_shape(run, key)
    with jax.enable_x64(True):
        assert jax.eval_shape(run, key) == plain
    dtypes = {leaf.dtype.name for leaf in jax.tree.leaves(plain)}
    assert dtypes == {"float32", "int32", "bool"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Uniform(0), "Uniform: capacity is 0; allowed: a positive whole number"),
        (lambda: Uniform(10, n=0), "Uniform: n is 0; allowed: a positive whole number"),
        (lambda: Uniform(10, n=1.5), "Uniform: n is 1.5; allowed: a positive whole number"),
        (lambda: Prioritized(-1), "Prioritized: capacity is -1"),
        (lambda: Prioritized(exponent=1.1), r"exponent is 1.1; allowed: a number in \[0, 1\]"),
        (lambda: Prioritized(correction=-0.1), r"correction is -0.1; allowed: .* in \[0, 1\]"),
        (lambda: Prioritized(epsilon=0), "epsilon is 0; allowed: a finite number above 0"),
        (
            lambda: Prioritized(normalize="bach"),
            r"normalize is 'bach'; allowed: .* \(did you mean 'batch'\?\)",
        ),
    ],
)
def test_wrong_numbers_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
