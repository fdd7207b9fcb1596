"""Checkpoints: every bit comes back, a file is whole or not there, and what is wrong
is said."""

import errno
import functools
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import purerl
from purerl.figures import files
from purerl.run import checkpoint, training
from purerl.schedule import linear
from tests import quick

pytestmark = pytest.mark.optimized

NAN_WITH_PAYLOAD = np.array([0x7FC00000, 0x7FC12345, 0xFFC00001, 0x7F800001], np.uint32).view(
    np.float32
)
TREE = {
    "float": np.concatenate(
        [NAN_WITH_PAYLOAD, np.float32([0.0, -0.0, np.inf, -np.inf, 1e-45, 1 / 3])]
    ),
    "integers": (
        np.arange(-3, 3, dtype=np.int32),
        np.array([0, 255], np.uint8),
        np.array([2**32 - 1], np.uint32),
    ),
    "flags": [np.array([[True], [False]]), np.array(True)],
    "nothing": {
        "none": None,
        "empty": np.zeros((0, 3), np.float32),
        "scalar": np.array(7, np.int32),
    },
}


def bits(tree):
    def of(leaf):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return str(leaf.dtype), of(jax.random.key_data(leaf))
        return np.asarray(leaf).dtype.str, np.shape(leaf), np.asarray(leaf).tobytes()

    return jax.tree.structure(tree), [of(leaf) for leaf in jax.tree.leaves(tree)]


def round_trip(path, tree):
    checkpoint.save(path, tree)
    return checkpoint.load(path, like=tree)


def test_every_bit_comes_back(tmp_path):
    assert bits(round_trip(tmp_path / "tree.npz", TREE)) == bits(TREE)


@pytest.mark.parametrize(
    "impl", ["threefry2x32", "rbg", "unsafe_rbg", *purerl.random.IMPLEMENTATIONS]
)
def test_keys_come_back_with_their_generator(tmp_path, impl):
    key = jax.random.key(7, impl=purerl.random.IMPLEMENTATIONS.get(impl, impl))
    tree = {"one": key, "many": jax.random.split(key, (2, 3)), "words": jax.random.key_data(key)}
    loaded = round_trip(tmp_path / "keys.npz", tree)
    assert bits(loaded) == bits(tree)
    np.testing.assert_array_equal(
        jax.random.normal(loaded["many"][1, 2]), jax.random.normal(tree["many"][1, 2])
    )


@pytest.mark.parametrize("impl", purerl.random.IMPLEMENTATIONS)
def test_keys_without_bits_of_their_own_are_told_apart(tmp_path, impl):
    checkpoint.save(tmp_path / "key.npz", {"key": purerl.random.key(0, impl)})
    for other in (
        jax.random.key(0),
        *(purerl.random.key(0, name) for name in purerl.random.IMPLEMENTATIONS if name != impl),
    ):
        with pytest.raises(ValueError, match="leaf 'key' is key<"):
            checkpoint.load(tmp_path / "key.npz", like={"key": other})


DTYPES = st.sampled_from(
    ["bool", "int8", "uint8", "int32", "uint32", "int64", "float16", "float32", "float64"]
)


@given(
    st.lists(
        DTYPES.flatmap(
            lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, min_side=0))
        ),
        max_size=4,
    )
)
def test_any_arrays_come_back(tmp_path_factory, leaves):
    assert bits(round_trip(tmp_path_factory.mktemp("any") / "tree.npz", leaves)) == bits(leaves)


def test_a_single_leaf_is_a_tree(tmp_path):
    assert bits(round_trip(tmp_path / "leaf.npz", TREE["float"])) == bits(TREE["float"])


@pytest.mark.parametrize(
    "name", ["file", "args", "kwds", "allow_pickle", "a/b", "..", "x.npy", "ünï", " "]
)
def test_names_are_only_names(tmp_path, name):
    tree = {name: np.arange(3), "other": {name: np.arange(4)}}
    assert bits(round_trip(tmp_path / "tree.npz", tree)) == bits(tree)


def test_two_leaves_of_one_name_are_not_taken_for_one(tmp_path):
    with pytest.raises(ValueError, match=r"a\.b"):
        checkpoint.save(tmp_path / "tree.npz", {"a.b": np.zeros(2), "a": {"b": np.ones(2)}})


def test_what_only_pickle_could_save_is_not_saved(tmp_path):
    with pytest.raises((ValueError, TypeError)):
        checkpoint.save(tmp_path / "tree.npz", {"x": object()})
    assert not list(tmp_path.iterdir())


def test_bfloat16_comes_back_or_is_refused(tmp_path):
    tree = {"x": jnp.arange(3, dtype=jnp.bfloat16)}
    try:
        checkpoint.save(tmp_path / "tree.npz", tree)
    except (ValueError, TypeError):
        return
    assert bits(checkpoint.load(tmp_path / "tree.npz", like=tree)) == bits(tree)


OTHER_TREES = {
    "another name": ({"q": np.zeros(3), "b": np.zeros(2)}, "no leaf 'q'"),
    "a leaf less": ({"a": np.zeros(3)}, "does not have: b"),
    "a leaf more": ({"a": np.zeros(3), "b": np.zeros(2), "c": np.zeros(1)}, "no leaf 'c'"),
    "another shape": (
        {"a": np.zeros((3, 1)), "b": np.zeros(2)},
        r"leaf 'a' is float64\(3,\); allowed: float64\(3, 1\)",
    ),
    "another dtype": ({"a": np.zeros(3), "b": np.zeros(2, np.float32)}, "leaf 'b' is float64"),
    "a key": ({"a": jax.random.key(0), "b": np.zeros(2)}, "leaf 'a' is float64"),
}


@pytest.mark.parametrize(("like", "message"), OTHER_TREES.values(), ids=OTHER_TREES)
def test_another_tree_is_refused(tmp_path, like, message):
    checkpoint.save(tmp_path / "tree.npz", {"a": np.zeros(3), "b": np.zeros(2)})
    with pytest.raises(ValueError, match=message):
        checkpoint.load(tmp_path / "tree.npz", like=like)


def test_shapes_alone_say_what_to_load(tmp_path):
    tree = {"x": np.arange(3, dtype=np.int32), "key": purerl.random.key(1, "pcg4d")}
    checkpoint.save(tmp_path / "tree.npz", tree)
    like = jax.eval_shape(lambda: tree)
    assert bits(checkpoint.load(tmp_path / "tree.npz", like)) == bits(tree)


def test_an_error_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "tree.npz"
    checkpoint.save(path, {"x": np.arange(3)})
    before = path.read_bytes()

    def half(file):
        file.write(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        checkpoint.write_atomically(path, half)

    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(path, {"x": np.arange(4)})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_replaces_the_old_one_whole(tmp_path):
    path = tmp_path / "tree.npz"
    for size in (1000, 3):
        checkpoint.save(path, {"x": np.arange(size)})
        assert checkpoint.load(path, {"x": np.arange(size)})["x"].tolist() == list(range(size))
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        checkpoint.load(tmp_path / "tree.npz", TREE)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    path = tmp_path_factory.mktemp("damage") / "arrays.npz"
    stored = {
        "x": np.arange(6, dtype=np.float32).reshape(2, 3),
        "y": np.array([True, False]),
        "z": np.float64(1.5),
    }
    checkpoint.write_arrays(path, stored)
    return path, stored, path.read_bytes()


def read_damaged(archive, content):
    """The archive is either refused, by an error that names it, or wholly what it
    was (some bits of it say nothing)."""
    path, stored, _ = archive
    path.write_bytes(content)
    try:
        found = checkpoint.read_arrays(path)
    except ValueError as error:
        assert str(path) in str(error)
    else:
        assert bits(found) == bits({name: np.asarray(value) for name, value in stored.items()})


def test_no_flipped_bit_goes_unnoticed(archive):
    content = archive[2]
    for place in range(len(content)):
        for bit in range(8):
            flipped = bytearray(content)
            flipped[place] ^= 1 << bit
            read_damaged(archive, bytes(flipped))


def test_no_lost_end_goes_unnoticed(archive):
    path, _, content = archive
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=path.name):
            checkpoint.read_arrays(path)


def test_files_hold_plain_arrays(archive):
    path, stored, content = archive
    path.write_bytes(content)
    with zipfile.ZipFile(path) as file:
        assert file.namelist() == [f"{name}.npy" for name in stored]
    with np.load(path, allow_pickle=False) as file:
        assert {name: file[name].tolist() for name in file.files} == {
            name: value.tolist() for name, value in stored.items()
        }


AGENTS = {
    "tabular": (
        purerl.QLearning(env=purerl.make("FrozenLake-v1"), learning_rate=0.3, count_visits=True),
        "threefry",
        300,
    ),
    "ppo": (  # with continuous actions, and statistics that outlast episodes
        purerl.PPO(
            env=purerl.envs.RewardNormalize(purerl.envs.TimeLimit(purerl.envs.Pendulum(), 5)),
            network=purerl.networks.ActorCritic((8,)),
            num_envs=2,
            rollout_length=8,
            squash=True,
            learning_rate=linear(1e-2, 0.0, 160),
        ),
        "pcg4d",
        5,
    ),
    "rainbow": (  # with priorities and noise
        purerl.Rainbow(
            env=purerl.make("FrozenLake-v1"),
            network=purerl.networks.MLP((8,), noisy=True),
            atoms=5,
            batch_size=8,
            replay=purerl.replay.Prioritized(40, n=3),
            learning_starts=20,
            target_period=40,
        ),
        "pcg4d",
        5,
    ),
}


@pytest.mark.parametrize(("agent", "impl", "length"), AGENTS.values(), ids=AGENTS)
def test_training_goes_on_from_a_checkpoint_as_if_nothing_had_been(tmp_path, agent, impl, length):
    segment = quick.jit(functools.partial(training.segment, agent, num_iterations=length))
    start = quick.jit(agent.init)(purerl.random.seed_key(3, 1, impl))
    half, _ = segment(start, 0)
    straight, straight_metrics = segment(half, length)

    checkpoint.save(tmp_path / "half.npz", half)
    like = jax.eval_shape(agent.init, purerl.random.key(0, impl))
    resumed, resumed_metrics = segment(checkpoint.load(tmp_path / "half.npz", like), length)

    assert bits(resumed) == bits(straight)
    assert bits(resumed_metrics) == bits(straight_metrics)
    assert bits(straight) != bits(half) != bits(start)
