import functools
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jax import lax
from scipy import stats

from experiments import prng_quality
from purerl import random as prng
from purerl.random import IMPLEMENTATIONS, as_key, key, seed_key
from tests import quick

IMPLS = tuple(IMPLEMENTATIONS)
SEEDS = st.integers(-(2**63), 2**63 - 1) | st.integers(-(2**31), 2**32 - 1)
SHAPES = st.lists(st.integers(0, 6), max_size=3).map(tuple)


@pytest.fixture(autouse=True, scope="module")
def keys_may_be_used_twice():
    """Allow the reuse of keys: comparing two ways to draw from a key uses it twice."""
    with jax.debug_key_reuse(False):
        yield


# Draws from one key. The first group is integer arithmetic alone; in the second
# a compiler may round differently.
EXACT = {
    "data": jax.random.key_data,
    "split": lambda key: jax.random.key_data(jax.random.split(key)),
    "split by shape": lambda key: jax.random.key_data(jax.random.split(key, (3, 4))),
    "fold_in": lambda key: jax.random.key_data(jax.random.fold_in(key, 123_456_789)),
    "bits 8": lambda key: jax.random.bits(key, (2, 7), jnp.uint8),
    "bits 16": lambda key: jax.random.bits(key, (5,), jnp.uint16),
    "bits 32": lambda key: jax.random.bits(key, (3, 3)),
    "one word": jax.random.bits,
    "uniform": lambda key: jax.random.uniform(key, (10,)),
    "randint": lambda key: jax.random.randint(key, (10,), -3, 1000),
    "randint 8": lambda key: jax.random.randint(key, (10,), 0, 100, jnp.uint8),
    "permutation": lambda key: jax.random.permutation(key, 12),
    "bernoulli": lambda key: jax.random.bernoulli(key, 0.3, (40,)),
    "categorical": lambda key: jax.random.categorical(
        key, jnp.log(jnp.arange(1.0, 6.0)), shape=(10,)
    ),
    "choice": lambda key: jax.random.choice(key, 9, (10,), p=jnp.arange(9.0) / 36),
    "choice without replacement": lambda key: jax.random.choice(key, 9, (4,), replace=False),
}
ROUNDED = {
    "normal": lambda key: jax.random.normal(key, (10,)),
    "exponential": lambda key: jax.random.exponential(key, (10,)),
}
WIDE = {
    "bits 64": lambda key: jax.random.bits(key, (4, 3), jnp.uint64),
    "one wide word": lambda key: jax.random.bits(key, (), jnp.uint64),
    "uniform 64": lambda key: jax.random.uniform(key, (10,), jnp.float64),
    "randint 64": lambda key: jax.random.randint(key, (10,), -(2**40), 2**50, jnp.int64),
}


def draw(key):
    return {name: function(key) for name, function in (EXACT | ROUNDED).items()}


draw_jit = quick.jit(draw)
draw_wide = quick.jit(lambda key: {name: function(key) for name, function in WIDE.items()})


def assert_same_draws(one, other):
    assert one.keys() == other.keys()
    for name in one:
        if name in ROUNDED:
            np.testing.assert_allclose(one[name], other[name], rtol=1e-5, atol=1e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)


# The same bits as JAX's own.


def test_threefry_copies_what_is_still_the_default_of_jax():
    changed = (
        "JAX's default generator changed: 'threefry' promises the same bits, so change it too or "
        "change the promise"
    )
    assert str(jax.random.key_impl(jax.random.key(0))) == "threefry2x32", changed
    assert jax.config.jax_threefry_partitionable, changed


@given(seed=SEEDS, kind=st.sampled_from([int, np.int64, np.asarray, jnp.asarray]))
@example(seed=0, kind=int)
@example(seed=-1, kind=int)
@example(seed=2**32 - 1, kind=np.uint32)
@example(seed=200, kind=np.uint8)
def test_threefry_draws_what_jax_draws(seed, kind):
    if kind is jnp.asarray:
        seed %= 2**31
    assert_same_draws(draw_jit(key(kind(seed))), draw_jit(jax.random.key(kind(seed))))


@given(seed=SEEDS)
@settings(max_examples=10)
def test_threefry_draws_what_jax_draws_with_64_bits(seed):
    with jax.enable_x64(True):
        ours, theirs = key(seed), jax.random.key(seed)
        assert_same_draws(draw_wide(ours), draw_wide(theirs))
        np.testing.assert_array_equal(
            jax.random.key_data(ours)[0], np.uint32(seed >> 32 & 0xFFFFFFFF)
        )


@given(shape=SHAPES, dtype=st.sampled_from([jnp.uint8, jnp.uint16, jnp.uint32]), seed=SEEDS)
@settings(max_examples=6)
@example(shape=(), dtype=jnp.uint8, seed=1)
@example(shape=(3, 0), dtype=jnp.uint32, seed=3)
@example(shape=(8,), dtype=jnp.uint32, seed=4)  # the most that are worked out one by one
@example(shape=(1, 3, 3), dtype=jnp.uint16, seed=7)
def test_threefry_splits_and_draws_any_shape_as_jax_does(shape, dtype, seed):

    @quick.jit
    def drawn(ours, theirs):
        return [
            (jax.random.split(key, shape), jax.random.bits(key, shape, dtype))
            for key in (ours, theirs)
        ]

    (split, bits), (expected_split, expected_bits) = drawn(key(seed), jax.random.key(seed))
    assert split.shape == shape
    np.testing.assert_array_equal(*map(jax.random.key_data, (split, expected_split)))
    np.testing.assert_array_equal(bits, expected_bits)


def test_threefry_splits_by_a_number_as_jax_does():
    numbers = (0, 1, 2, 8, 9, 1000)
    split = quick.jit(lambda k: [jax.random.key_data(jax.random.split(k, num)) for num in numbers])
    for num, ours, theirs in zip(numbers, split(key(5)), split(jax.random.key(5)), strict=True):
        assert ours.shape == (num, 2)
        np.testing.assert_array_equal(ours, theirs)


@given(seed=SEEDS, data=st.integers(0, 2**32 - 1))
def test_threefry_folds_in_what_jax_folds_in(seed, data):
    ours, theirs = (
        jax.random.fold_in(k, jnp.uint32(data)) for k in (key(seed), jax.random.key(seed))
    )
    np.testing.assert_array_equal(jax.random.key_data(ours), jax.random.key_data(theirs))


def from_words(words, impl):
    return jax.random.wrap_key_data(words, impl=IMPLEMENTATIONS[impl])


@given(words=st.tuples(*[st.integers(0, 2**32 - 1)] * 2))
def test_key_data_goes_from_jax_to_threefry_and_back(words):
    words = np.array(words, np.uint32)
    theirs = jax.random.wrap_key_data(words)
    ours = from_words(jax.random.key_data(theirs), "threefry")
    assert_same_draws(draw_jit(ours), draw_jit(theirs))
    back = jax.random.wrap_key_data(jax.random.key_data(jax.random.fold_in(ours, 1)))
    assert_same_draws(draw_jit(back), draw_jit(jax.random.fold_in(theirs, 1)))


# The same bits however a program is transformed.


def draw_few(key):
    """On both sides of the size up to which elements are evaluated one by one."""
    return {
        "split": jax.random.key_data(jax.random.split(key, 3)),
        "split by shape": jax.random.key_data(jax.random.split(key, (3, 4))),
        "fold_in": jax.random.key_data(jax.random.fold_in(key, 5)),
        "bits 8": jax.random.bits(key, (20,), jnp.uint8),
        "uniform": jax.random.uniform(key, (2, 2)),
        "randint of a child": jax.random.randint(jax.random.split(key)[1], (), -3, 1000),
    }


@functools.cache
def drawn_in_a_loop(impl):
    alone = quick.jit(draw_few)
    drawn = [alone(k) for k in jax.random.split(key(3, impl), 6)]
    return {name: np.stack([one[name] for one in drawn]) for name in drawn[0]}


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize(
    "many",
    [
        jax.vmap(draw_few),
        lambda keys: jax.tree.map(
            jnp.concatenate, jax.vmap(jax.vmap(draw_few))(keys.reshape(2, 3))
        ),
        lambda keys: lax.map(draw_few, keys),
        lambda keys: lax.scan(lambda carry, i: (carry, draw_few(keys[i])), None, jnp.arange(6))[1],
    ],
    ids=["vmap", "vmap twice", "map", "scan"],
)
def test_transformations_draw_what_a_loop_draws(impl, many):
    assert_same_draws(quick.jit(many)(jax.random.split(key(3, impl), 6)), drawn_in_a_loop(impl))


@pytest.mark.parametrize("impl", IMPLS)
def test_keys_derived_under_a_transformation_are_those_derived_outside(impl):
    times = np.arange(20)
    k = key(7, impl)
    loop = np.stack([jax.random.key_data(jax.random.fold_in(k, int(t))) for t in times])

    @quick.jit
    def transformed(k, times):
        fold = functools.partial(jax.random.fold_in, k)
        return (
            jax.vmap(fold)(times),
            lax.map(fold, times),
            lax.scan(lambda c, t: (c, fold(t)), None, times)[1],
        )

    for derived in transformed(k, times):
        np.testing.assert_array_equal(jax.random.key_data(derived), loop)


ON_TWO_DEVICES = """
import jax, numpy
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from purerl.random import IMPLEMENTATIONS, key

mesh, lanes = Mesh(jax.devices(), ("lane",)), PartitionSpec("lane")
draw = jax.vmap(lambda key: jax.random.bits(jax.random.fold_in(jax.random.split(key)[1], 3), (10,)))
for impl in IMPLEMENTATIONS:
    keys = jax.random.split(key(0, impl), 8)
    sharded = jax.jit(jax.shard_map(draw, mesh=mesh, in_specs=lanes, out_specs=lanes))(keys)
    assert len(sharded.sharding.device_set) == 2
    numpy.testing.assert_array_equal(sharded, draw(keys))
    whole = jax.random.bits(keys[0], (1024,))
    sharding = NamedSharding(mesh, lanes)
    draw_apart = jax.jit(lambda key: jax.random.bits(key, (1024,)), out_shardings=sharding)
    apart = draw_apart(keys[0])
    assert len(apart.sharding.device_set) == 2
    numpy.testing.assert_array_equal(apart, whole)
print("same")
"""


def test_two_devices_draw_what_one_draws():
    flags = {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "JAX_DEBUG_KEY_REUSE": "0",
    }
    root = pathlib.Path(prng.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", ON_TWO_DEVICES],
        env=os.environ | flags,
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "same\n", done.stderr


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.uint16, jnp.uint32])
def test_short_draws_are_the_beginnings_of_long_ones(impl, dtype):
    sizes = (1, 5, 8, 9, 30, 100)
    draw = quick.jit(lambda k: [jax.random.bits(k, (size,), dtype) for size in sizes])
    *short, long = map(np.asarray, draw(key(11, impl)))
    for drawn in short:
        np.testing.assert_array_equal(drawn, long[: len(drawn)])


# Keys.


@pytest.mark.parametrize("seed", [1.7, "0", None, True, [1], np.array([1]), jnp.float32(1)])
def test_a_seed_is_an_integer(seed):
    with pytest.raises(TypeError, match=r"key: seed is .*; allowed: an integer"):
        key(seed)
    with pytest.raises(TypeError, match=r"seed_key: i is .*; allowed: an integer"):
        seed_key(0, seed)


@pytest.mark.parametrize("wrong", [0, None, 1.5, "key", np.zeros(2)])
def test_what_is_no_key_is_refused(wrong):
    with pytest.raises(TypeError, match=r"as_key: key is .*; allowed: a key"):
        as_key(wrong)


def test_unknown_generators_are_refused():
    with pytest.raises(ValueError, match=r"impl is 'mersenne'; allowed: 'threefry', 'pcg4d'$"):
        key(0, "mersenne")


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize(
    "function",
    [lambda k: jax.random.bits(k, (2**16, 2**16 + 1)), lambda k: jax.random.split(k, 2**33)],
)
def test_more_elements_than_counters_are_refused(impl, function):
    with pytest.raises(ValueError, match=r"at most 2\*\*32 elements"):
        jax.jit(function).lower(key(0, impl))


def test_legacy_keys_are_wrapped_and_typed_ones_left_alone():
    raw, expected = jax.random.PRNGKey(3), jax.random.bits(jax.random.key(3), (4,))
    for function in (as_key, jax.jit(as_key)):
        np.testing.assert_array_equal(jax.random.bits(function(raw), (4,)), expected)
    for typed in (jax.random.key(3), key(3), key(3, "pcg4d")):
        assert as_key(typed) is typed


@pytest.mark.parametrize("impl", IMPLS)
def test_more_seeds_leave_the_first_ones_as_they_were(impl):
    few, many = (jax.vmap(lambda i: seed_key(9, i, impl))(jnp.arange(n)) for n in (5, 30))
    data = np.asarray(jax.random.key_data(many))
    np.testing.assert_array_equal(jax.random.key_data(few), data[:5])
    for i in range(30):
        np.testing.assert_array_equal(
            jax.random.key_data(jax.random.fold_in(key(9, impl), i)), data[i]
        )
    assert len(np.unique(data, axis=0)) == 30


@pytest.mark.parametrize("impl", IMPLS)
def test_jax_sees_a_key_used_twice(impl):
    with jax.debug_key_reuse(True):
        k = key(0, impl)
        first, second = jax.random.split(k)
        jax.random.bits(first)
        jax.random.bits(second)
        for again in (jax.random.bits, jax.random.split):
            with pytest.raises(jax.errors.KeyReuseError):
                again(k)
        k = key(1, impl)
        with pytest.raises(jax.errors.KeyReuseError):
            jax.jit(lambda k: jax.random.bits(k) + jax.random.bits(k))(k)


# The quality of the bits. Seeds are fixed, so these tests always give the same answer;
# LIMIT is the chance that a perfect generator would have had of failing one of them.
# Each is also shown a generator that it must fail.

LIMIT = 1e-6


def published_pcg4d(x, y, z, w, shifts=0):
    """The published hash; ``shifts=1`` adds the two xor-shifts of ``purerl.random``."""
    words = [x, y, z, w]
    for _ in range(shifts):
        words = [v ^ v >> 16 for v in words]
    x, y, z, w = (v * np.uint32(1664525) + np.uint32(1013904223) for v in words)
    x += y * w
    y += z * x
    z += x * y
    w += y * z
    x, y, z, w = (v ^ v >> 16 for v in (x, y, z, w))
    x += y * w
    y += z * x
    z += x * y
    w += y * z
    words = [x, y, z, w]
    for _ in range(shifts):
        words = [v ^ v >> 16 for v in words]
    return words


def published_bits(words, counter, width):
    block = published_pcg4d(words[0], words[1], counter // 4, jnp.full_like(counter, width))
    return jnp.select([counter % 4 == i for i in range(4)], block)


# One draws by the hash as published, one hands out what its keys are made of, one
# forgets in which order it was folded.
WEAK = {
    "published": prng._define("published", "published", prng._pcg4d_derive, published_bits),
    "unhashed": prng._define(
        "unhashed", "unhashed", prng._pcg4d_derive, lambda words, counter, width: words[0] + counter
    ),
    "sum": prng._define(
        "sum", "sum", lambda words, c, purpose: (words[0] + c, words[1] + c), prng._pcg4d_bits
    ),
}


@pytest.fixture
def weak_generators(monkeypatch):
    for name, impl in WEAK.items():
        monkeypatch.setitem(IMPLEMENTATIONS, name, impl)


@quick.jit
def bits_of_every_width(key):
    return [jax.random.bits(key, (32,), dtype) for dtype in (jnp.uint8, jnp.uint16, jnp.uint32)]


@given(words=st.tuples(*[st.integers(0, 2**32 - 1)] * 2))
def test_pcg4d_is_the_published_hash_with_two_shifts_more(words):
    k = from_words(np.array(words, np.uint32), "pcg4d")

    def expected(width):
        inputs = (*words, np.arange(8), width)
        return np.stack(
            published_pcg4d(*(np.full(8, v, np.uint32) for v in inputs), shifts=1), axis=1
        ).ravel()

    for drawn, width in zip(bits_of_every_width(k), (8, 16, 32), strict=True):
        np.testing.assert_array_equal(drawn, expected(width).astype(drawn.dtype))
    with jax.enable_x64(True):
        high, low = expected(64).astype(np.uint64).reshape(-1, 2).T
        np.testing.assert_array_equal(
            jax.random.bits(k, (16,), jnp.uint64), high << np.uint64(32) | low
        )


def two_sided(distribution, value):
    """The two-sided p-value: a value that is too even is not random either."""
    return min(
        1.0,
        2
        * min(
            distribution.cdf(value),
            distribution.sf(value - 1 if hasattr(distribution, "pmf") else value),
        ),
    )


def worst(*p_values):
    """The smallest p-value, with Bonferroni correction."""
    return min(1.0, min(p_values) * len(p_values))


def fair(counts, n):
    """The p-value of ``counts`` as heads of ``n`` fair coins each.

    The smaller of two tests: all counts together, and the most extreme one.
    """
    z = (np.asarray(counts, np.float64) - n / 2) / np.sqrt(n / 4)
    return worst(
        two_sided(stats.chi2(z.size), np.sum(z**2)), 2 * z.size * stats.norm.sf(np.max(np.abs(z)))
    )


def planes(words):
    """``[n]`` words -> their 32 bits apart, each packed into ``n / 64`` long words."""
    return np.stack(
        [np.packbits((words >> np.uint32(bit) & 1).astype(np.uint8)) for bit in range(32)]
    ).view(np.uint64)


def ones(packed):
    return np.sum(np.bitwise_count(packed), axis=-1, dtype=np.int64)


@functools.partial(quick.optimizing_jit, static_argnums=0)
def both(function, inputs, mask):
    function = jax.vmap(function)
    return function(inputs) ^ function(inputs ^ mask)


@quick.optimizing_jit
def bits_set(words):
    return jnp.sum(words[..., None] >> jnp.arange(32, dtype=jnp.uint32) & 1, axis=0).ravel()


def flips(function, inputs):
    """Counts of output bits flipped by flipping an input bit, ``[32 m, 32 w]``.

    ``inputs`` are ``[n, m]``, ``function`` maps ``[m] -> [w]``.
    """
    masks = [
        np.uint32(1 << bit) * np.eye(inputs.shape[1], dtype=np.uint32)[word]
        for word, bit in np.ndindex(inputs.shape[1], 32)
    ]
    # Two programs, so that no compiler works a word out anew for each of its bits.
    return np.stack([bits_set(both(function, inputs, mask)) for mask in masks])


N = 2**14


def key_avalanche(impl):
    """From bits of both words of a key to drawn words."""
    inputs = np.random.default_rng(0).integers(2**32, size=(N, 2), dtype=np.uint32)
    return fair(flips(lambda words: jax.random.bits(from_words(words, impl), (4,)), inputs), N)


def chain_avalanche(impl):
    """From bits of ``i`` and ``t`` to words drawn from the key and from its child.

    Both numbers are small, as in use.
    """
    inputs = np.random.default_rng(1).integers([2**10, 2**20], size=(N, 2)).astype(np.uint32)

    def chain(i_t):
        k = jax.random.fold_in(seed_key(0, i_t[0], impl), i_t[1])
        return jnp.concatenate(
            [jax.random.bits(k, (4,)), jax.random.bits(jax.random.split(k)[1], (4,))]
        )

    return fair(flips(chain, inputs), N)


def block_avalanche(impl):
    """From bits of the place in one long draw to its words."""
    draw = jax.vmap(lambda i: jax.random.bits(seed_key(0, i, impl), (2**12, 4)))
    blocks = np.asarray(quick.optimizing_jit(draw)(np.arange(16)))
    place = np.arange(2**12)
    flipped = np.stack(
        [blocks ^ blocks[:, place ^ (1 << bit)] for bit in range(12)]
    )  # each pair is met from both its ends
    return fair(
        ones([[planes(x[..., word].ravel()) for word in range(4)] for x in flipped]) / 2, 16 * 2**11
    )


AVALANCHES = [key_avalanche, chain_avalanche, block_avalanche]


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("avalanche", AVALANCHES)
def test_each_bit_flips_each_bit_half_the_time(avalanche, impl):
    assert avalanche(impl) > LIMIT


@pytest.mark.usefixtures("weak_generators")
@pytest.mark.parametrize("avalanche", AVALANCHES)
def test_the_published_hash_does_not(avalanche):
    assert avalanche("published") < LIMIT


def byte_frequencies(words):
    words = words.ravel()
    counts = np.stack(
        [np.bincount(words >> shift & 255, minlength=256) for shift in (0, 8, 16, 24)]
    )
    expected = len(words) / 256
    return two_sided(stats.chi2(4 * 255), np.sum((counts - expected) ** 2) / expected)


def bit_balance(words):
    return fair(ones(np.stack([planes(place) for place in words.T])), len(words))


def correlation(one, other):
    """The p-value of correlations of the bits of ``one`` and ``other``, ``[n]``."""
    others = planes(other)
    return fair(np.stack([ones(plane ^ others) for plane in planes(one)]), one.size)


def serial_correlation(words):
    """Correlations of neighboring words, keys, and times of one lane."""
    words = words.ravel()
    return worst(
        *(
            correlation(words, np.roll(words, -lag))
            for lag in (1, 2, 3, 4, 8, 12, 4 * prng_quality.LANES)
        )
    )


def repeats(words):
    """The p-value of repeated words; ``n (n - 1) / 2**33`` are expected."""
    n = words.size
    return two_sided(
        stats.poisson(n * (n - 1) / 2**33), np.sum(np.diff(np.sort(words, axis=None)) == 0)
    )


def birthday_spacings(words):
    """The p-value of equal spacings of ``m`` birthdays in a year of ``2**32`` days.

    Marsaglia & Tsang (2002); their number is nearly Poisson distributed.
    """
    m = 2**12
    spacings = np.sort(np.diff(np.sort(words.reshape(-1, m), axis=1), axis=1), axis=1)
    return two_sided(
        stats.poisson(len(spacings) * m**3 / 2**34), np.sum(spacings[:, 1:] == spacings[:, :-1])
    )


STATISTICS = [byte_frequencies, bit_balance, serial_correlation, repeats, birthday_spacings]


def stream(impl, layout):
    """``uint32[keys, words]``: a million words drawn as they are in use."""
    words = 2**12 if layout == "bulk" else 4
    return np.asarray(prng_quality.chunk(impl, layout, words, jnp.uint32(0), jnp.uint32(0)))


@pytest.mark.parametrize("layout", prng_quality.LAYOUTS)
@pytest.mark.parametrize("impl", IMPLS)
def test_words_drawn_across_keys_look_random(impl, layout):
    words = stream(impl, layout)
    p_values = {statistic.__name__: statistic(words) for statistic in STATISTICS}
    assert min(p_values.values()) > LIMIT, p_values


@pytest.mark.usefixtures("weak_generators")
@pytest.mark.parametrize("statistic", STATISTICS)
def test_words_that_are_not_hashed_do_not(statistic):
    assert statistic(stream("unhashed", "time")) < LIMIT


def test_the_widths_of_pcg4d_draw_apart():
    def agreement(impl):
        k = key(0, impl)
        wide, narrow = (
            np.asarray(jax.random.bits(k, (2**16,), dtype)) for dtype in (jnp.uint32, jnp.uint16)
        )
        return correlation(wide, narrow * np.uint32(0x10001))

    assert agreement("pcg4d") > LIMIT
    assert agreement("threefry") < LIMIT  # as in JAX, sixteen bits are half of the thirty-two


def number_of_keys(keys):
    return 1 + np.count_nonzero(
        np.diff(np.sort(np.asarray(jax.random.key_data(keys)).view(np.uint64), axis=None))
    )


def grid(impl):
    """The keys of 2**10 seeds at 2**10 times."""
    seeds = jax.vmap(lambda i: seed_key(0, i, impl))(jnp.arange(2**10))
    return jax.vmap(lambda t: jax.vmap(jax.random.fold_in, (0, None))(seeds, t))(
        jnp.arange(2**10)
    ).ravel()


def tree(impl):
    """Five generations: 16 children by ``split`` and 16 by ``fold_in`` per key."""
    generations = [key(0, impl)[None]]
    for _ in range(4):
        split = jax.vmap(lambda k: jax.random.split(k, 16))(generations[-1])
        folded = jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)), (0, None))(
            generations[-1], jnp.arange(16, 32)
        )
        generations.append(jnp.concatenate([split.ravel(), folded.ravel()]))
    return jnp.concatenate(generations)


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("derived", [grid, tree])
def test_a_million_derived_keys_are_all_different(derived, impl):
    keys = quick.optimizing_jit(derived, static_argnums=0)(impl)
    assert number_of_keys(keys) == keys.size >= 2**20


@pytest.mark.usefixtures("weak_generators")
@pytest.mark.parametrize("derived", [grid, tree])
def test_keys_that_only_add_up_are_not(derived):
    keys = quick.optimizing_jit(derived, static_argnums=0)("sum")
    assert number_of_keys(keys) < keys.size
