"""Optimizers against optax's and against formulas in NumPy, in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import purerl
from purerl import envs, networks, replay
from purerl.optimizers import Adam, Optimizer, RAdam, RMSProp
from tests import quick

TINY = float(jnp.finfo(jnp.float32).tiny)
PARAMS = {"w": jnp.zeros((3, 2)), "b": jnp.zeros(2)}


def gradients(steps):
    """Gradients of many sizes; one parameter never has any."""
    rng = np.random.default_rng(0)
    sizes = {"w": np.array([[1.0, 1e-3], [1e-5, 30.0], [0.1, 0.0]]), "b": np.array([1.0, 1e-2])}
    return [
        {
            name: (size * rng.normal(size=size.shape)).astype(np.float32)
            for name, size in sizes.items()
        }
        for _ in range(steps)
    ]


@quick.jit
def step(optimizer, state, gradient):
    """Under jit, with the optimizer's numbers traced."""
    return optimizer.transformation().update(gradient, state)


def directions(optimizer, steps=5):
    state = optimizer.transformation().init(PARAMS)
    for gradient in gradients(steps):
        direction, state = step(optimizer, state, gradient)
        yield direction


def directions_of_optax(transformation, steps=5):
    update = quick.jit(transformation.update)
    state = transformation.init(PARAMS)
    for gradient in gradients(steps):
        direction, state = update(gradient, state)
        yield direction


def compare(got, expected, **tolerance):
    for one, other in zip(got, expected, strict=True):
        for name in PARAMS:
            np.testing.assert_allclose(one[name], other[name], **tolerance)


@pytest.mark.parametrize(
    ("b1", "b2", "eps"), [(0.9, 0.999, 1e-8), (0.95, 0.99, 1.5e-4), (0.8, 0.98, 1e-5)]
)
def test_adam_has_optaxs_bits(b1, b2, eps):
    """Though the numbers are traced here, and are Python's there."""
    plain = optax.scale_by_adam(b1, b2, eps, eps_root=TINY)
    compare(directions(Adam(b1, b2, eps), 8), directions_of_optax(plain, 8), rtol=0, atol=0)


def rmsprop(decay, eps, centered, eps_in_root):
    """RMSProp in double precision."""
    size = mean = {name: np.zeros(p.shape) for name, p in PARAMS.items()}
    for gradient in gradients(5):
        g = {name: x.astype(float) for name, x in gradient.items()}
        size = {name: decay * size[name] + (1 - decay) * g[name] ** 2 for name in g}
        mean = {name: decay * mean[name] + (1 - decay) * g[name] for name in g}
        spread = {name: size[name] - centered * mean[name] ** 2 for name in g}
        if eps_in_root:
            yield {name: g[name] / np.sqrt(spread[name] + eps) for name in g}
        else:
            yield {name: g[name] / (np.sqrt(spread[name]) + eps) for name in g}


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("eps", [0.01, 1e-5])
def test_rmsprop_is_the_formula(centered, eps):
    got = list(directions(RMSProp(0.95, eps, centered)))
    compare(got, rmsprop(0.95, eps, centered, eps_in_root=False), rtol=2e-4)
    if eps == 0.01:  # under the root it would be seen
        with pytest.raises(AssertionError):
            compare(got, rmsprop(0.95, eps, centered, eps_in_root=True), rtol=0.1)


def test_five_steps_of_the_dqn_papers_rmsprop():
    """Of gradients 1, -2, 0.5, 0.1, 3, by hand to six digits."""
    optimizer = RMSProp()
    state = optimizer.transformation().init(jnp.zeros(()))
    got = []
    for gradient in (1.0, -2.0, 0.5, 0.1, 3.0):
        direction, state = step(optimizer, state, jnp.float32(gradient))
        got.append(float(direction))
    # The first: v = 0.05, m = 0.05, 1 / (sqrt(0.0475) + 0.01).
    expected = [4.387024, -3.962626, 0.986199, 0.201948, 3.657564]
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_rmsprop_is_optaxs_where_that_is_finite():
    """With an average of squares that rounding leaves above that of the mean."""
    got = list(directions(RMSProp()))
    plain = optax.scale_by_stddev(0.95, 0.01, eps_in_sqrt=False)
    expected = list(directions_of_optax(plain))
    assert all(np.isfinite(d["w"]).all() for d in expected)
    compare(got, expected, rtol=1e-4, atol=1e-7)
    other = directions_of_optax(optax.scale_by_stddev(0.95, 0.01, eps_in_sqrt=True))
    with pytest.raises(AssertionError):
        compare(got, other, rtol=0.1)


def test_a_constant_gradient_divides_by_no_root_of_less_than_zero():
    """The variance of a constant is zero, and rounding may leave less."""
    optimizer = RMSProp(decay=0.9)
    state = optimizer.transformation().init(jnp.zeros(3))
    for _ in range(300):
        direction, state = step(optimizer, state, jnp.array([0.1, 1.7, 0.0]))
    assert np.isfinite(direction).all()
    assert direction[0] > 1 and direction[2] == 0


def radam(b1, b2, eps, steps):
    """Algorithm 2 of Liu et al. in double precision, with optax's threshold of 5."""
    mean = size = {name: np.zeros(p.shape) for name, p in PARAMS.items()}
    longest = 2 / (1 - b2) - 1
    for t, gradient in enumerate(gradients(steps), start=1):
        g = {name: x.astype(float) for name, x in gradient.items()}
        mean = {name: b1 * mean[name] + (1 - b1) * g[name] for name in g}
        size = {name: b2 * size[name] + (1 - b2) * g[name] ** 2 for name in g}
        m = {name: mean[name] / (1 - b1**t) for name in g}
        length = longest - 2 * t * b2**t / (1 - b2**t)
        if length < 5:
            yield m
            continue
        above = (length - 4) * (length - 2) * longest
        below = (longest - 4) * (longest - 2) * length
        root = {name: np.sqrt(size[name] / (1 - b2**t)) for name in g}
        yield {name: np.sqrt(above / below) * m[name] / (root[name] + eps) for name in g}


@pytest.mark.parametrize(("b1", "b2"), [(0.9, 0.999), (0.8, 0.95)])
def test_radam_is_optaxs_and_the_papers(b1, b2):
    got = list(directions(RAdam(b1, b2), 12))
    compare(got, directions_of_optax(optax.scale_by_radam(b1, b2), 12), rtol=1e-2, atol=1e-6)
    compare(got, radam(b1, b2, 1e-8, 12), rtol=1e-2, atol=1e-6)


class Momentum(Optimizer):
    """An optimizer as users write them."""

    decay: float | jax.Array = 0.9

    def transformation(self):
        return optax.trace(self.decay)


def small(**fields):
    return purerl.DQN(
        env=envs.make("CartPole-v1"),
        network=networks.MLP((8,)),
        replay=replay.Uniform(60),
        learning_starts=20,
        target_period=40,
        batch_size=8,
        **fields,
    )


def test_an_optimizer_of_ones_own_trains_dqn():
    """The first update is the same with and without momentum, and the second is not."""
    step = quick.jit(lambda agent, state, t: agent.step(state, t))
    kernels = []
    for decay in (0.0, 0.9):
        agent = small(optimizer=Momentum(decay), learning_rate=0.1)
        state = quick.jit(lambda agent, key: agent.init(key))(agent, purerl.random.key(0))
        for t in range(2):
            state, _ = step(agent, state, t)
            kernels.append(np.asarray(state.params["params"]["Dense_0"]["kernel"]))
    np.testing.assert_array_equal(kernels[0], kernels[2])
    assert np.isfinite(kernels).all() and np.abs(kernels[1] - kernels[3]).max() > 1e-4


def test_numbers_are_swept_without_compiling_again():
    """Three values are one program, and give what one of them alone gives."""
    programs, active = [], [True]

    def listen(event, _, fun_name="", **__):
        if active and event == "/jax/core/compile/backend_compile_duration":
            programs.append(fun_name)

    jax.monitoring.register_event_duration_secs_listener(listen)
    run = {"seeds": 1, "num_steps": 200, "points": 2, "keep": "snapshot"}
    together = purerl.sweep(small(), over={"optimizer.b1": [0.0, 0.5, 0.9]}, **run)
    active.clear()  # listeners cannot be taken back
    assert programs.count("jit(advance)") == 1
    kernels = [
        together.snapshot(seed=0, configuration=i).params["params"]["Dense_0"]["kernel"]
        for i in range(3)
    ]
    alone = purerl.sweep(small(optimizer=Adam(b1=0.5)), **run).snapshot(seed=0)
    np.testing.assert_allclose(
        alone.params["params"]["Dense_0"]["kernel"], kernels[1], rtol=1e-4, atol=1e-5
    )
    assert np.abs(kernels[0] - kernels[1]).max() > 1e-4
    assert np.abs(kernels[2] - kernels[1]).max() > 1e-4


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Adam(b1=1.0), r"Adam: b1 is 1.0; allowed: a number in \[0, 1\)"),
        (lambda: Adam(b2=-0.1), "Adam: b2 is -0.1"),
        (lambda: Adam(eps=-1e-8), "Adam: eps is -1e-08; allowed: a finite number of at least 0"),
        (lambda: RMSProp(decay=1.0), r"RMSProp: decay is 1.0; allowed: a number in \[0, 1\)"),
        (lambda: RMSProp(eps=0.0), "RMSProp: eps is 0.0; allowed: a finite number above 0"),
        (lambda: RMSProp(centered=1), "RMSProp: centered is 1; allowed: False, True"),
        (lambda: RAdam(b1="0.9"), r"RAdam: b1 is '0.9'; .*\(did you mean 0.9\?\)"),
        (lambda: small(optimizer=optax.adam(1e-3)), "optimizer is .*; allowed: an optimizer, such"),
        (lambda: small(optimizer="adam"), "optimizer is 'adam'; allowed: an optimizer"),
    ],
)
def test_wrong_numbers_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_class_without_a_transformation_says_so():
    class Empty(Optimizer):
        pass

    with pytest.raises(NotImplementedError, match="Empty does not define transformation"):
        Empty().transformation()
