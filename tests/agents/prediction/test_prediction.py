"""Methods of prediction: against the book's boxes in plain Python, step by step, and
against the points they converge to."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purerl
import purerl.random
from purerl import agents, mdp, policy, schedule
from purerl.envs import FiniteEnvironment, TimeLimit
from purerl.envs.diagnostic import baird_star, boyan_chain
from purerl.run import evaluation, training
from tests import quick
from tests.agents.lived import lived

GAMMA, ALPHA, START = 0.9, 0.2, 0.3
RNG = np.random.default_rng(11)
FEATURES = RNG.normal(size=(5, 2)).astype(np.float32)
TARGET = RNG.dirichlet(np.ones(3), size=5).astype(np.float32)
BEHAVIOUR = RNG.dirichlet(4 * np.ones(3), size=5).astype(np.float32)


def episodic(seed, ends=0.15):
    @quick.jit
    def build():
        model = mdp.garnet(purerl.random.key(seed, "pcg4d"), 5, 3, 2)
        over = jax.random.bernoulli(
            purerl.random.key(seed + 100, "pcg4d"), ends, model.terminated.shape
        )
        return model.replace(terminated=over, reward=model.reward + 1)

    return FiniteEnvironment.of(build())


ENV = episodic(0)
CLIPPED = TimeLimit(ENV, 6)
BASICS = {"discount": GAMMA, "initial_value": START}
STEPS = {"learning_rate": ALPHA, **BASICS}
OFF = {"behavior": policy.Fixed(BEHAVIOUR), "target": policy.Fixed(TARGET)}


def facts(experience, features, off):
    """(x, R, x', rho, terminated, ended, S)"""
    for now in experience:
        s, a, s2, ends = (
            int(now.observation),
            int(now.action),
            int(now.next_observation),
            bool(now.terminated),
        )
        rho = TARGET[s, a] / BEHAVIOUR[s, a] if off else 1.0
        after = features[s2] * (not ends)
        yield (
            features[s].astype(float),
            float(now.reward),
            after.astype(float),
            float(rho),
            ends,
            ends or bool(now.truncated),
            s,
        )


def td(experience, features, off=False):
    """Sections 9.3 and 11.1."""
    w = np.full(features.shape[1], START)
    for x, r, x2, rho, *_ in facts(experience, features, off):
        w = w + ALPHA * rho * (r + GAMMA * x2 @ w - x @ w) * x
        yield w


def n_step_td(experience, features, n, off=False):
    """Sections 7.1 and 7.3."""
    w, steps = np.full(features.shape[1], START), []
    for x, r, x2, rho, _ends, done, _ in facts(experience, features, off):
        steps.append((x, r, rho))
        due = (
            range(max(len(steps) - n, 0), len(steps))
            if done
            else [len(steps) - n]
            if len(steps) >= n
            else []
        )
        last = x2 @ w
        for tau in due:
            window = steps[tau : tau + n]
            g = (
                sum(GAMMA**i * step[1] for i, step in enumerate(window))
                + GAMMA ** len(window) * last
            )
            w = (
                w
                + ALPHA
                * np.prod([step[2] for step in window])
                * (g - window[0][0] @ w)
                * window[0][0]
            )
        if done:
            steps = []
        yield w


def td_lambda(experience, features, lam, kind, off=False):
    """Sections 12.2, 12.5 and 12.9."""
    w, z, old = np.full(features.shape[1], START), np.zeros(features.shape[1]), 0.0
    for x, r, x2, rho, _ends, done, _ in facts(experience, features, off):
        value, following = w @ x, w @ x2
        delta = r + GAMMA * following - value
        if kind == "dutch":
            z = GAMMA * lam * z + (1 - ALPHA * GAMMA * lam * z @ x) * x
            w = w + ALPHA * (delta + value - old) * z - ALPHA * (value - old) * x
            old = following
        else:
            z = (
                np.where(x == 1, 1.0, GAMMA * lam * z)
                if kind == "replacing"
                else rho * (GAMMA * lam * z + x)
            )
            w = w + ALPHA * delta * z
        if done:
            z, old = np.zeros_like(z), 0.0
        yield w


def monte_carlo(experience, features, visit, weighted=False, off=False):
    """Sections 5.1, 5.5 and 5.6: all returns kept, and averaged or weighted at the
    end of each episode."""
    values, kept, steps = np.full(len(features), START), {}, []
    for _x, r, _x2, rho, _ends, done, s in facts(experience, features, off):
        steps.append((s, r, rho))
        if done:
            g, w = 0.0, 1.0
            for i in range(len(steps) - 1, -1, -1):
                state, reward, ratio = steps[i]
                g, w = GAMMA * g + reward, w * ratio
                if visit == "every" or state not in [step[0] for step in steps[:i]]:
                    kept.setdefault(state, []).append((w, g))
            for state, pairs in kept.items():
                weights, returns = np.array(pairs).T
                values[state] = weights @ returns / (weights.sum() if weighted else len(weights))
            steps = []
        yield values.copy()


def gradient(experience, features, kind, beta, off=True):
    """Section 11.7."""
    w, v = np.full(features.shape[1], START), np.zeros(features.shape[1])
    for x, r, x2, rho, *_ in facts(experience, features, off):
        delta = r + GAMMA * x2 @ w - x @ w
        step = (x - GAMMA * x2) * (x @ v) if kind == "gtd2" else delta * x - GAMMA * x2 * (x @ v)
        w, v = w + ALPHA * rho * step, v + beta * rho * (delta - v @ x) * x
        yield w


def emphatic(experience, features, lam, off=True):
    """Section 12.12."""
    w, z, f, before = np.full(features.shape[1], START), np.zeros(features.shape[1]), 0.0, 0.0
    for x, r, x2, rho, _ends, done, _ in facts(experience, features, off):
        f = before * GAMMA * f + 1
        m = lam + (1 - lam) * f
        z = rho * (GAMMA * lam * z + m * x)
        w = w + ALPHA * (r + GAMMA * x2 @ w - x @ w) * z
        before = rho
        if done:
            z, f, before = np.zeros_like(z), 0.0, 0.0
        yield w


def lstd(experience, features, lam, epsilon, off=True):
    """Section 9.8, by solving anew each time; with traces as Boyan's."""
    d = features.shape[1]
    a, b, z = epsilon * np.eye(d), epsilon * np.full(d, START), np.zeros(d)
    for x, r, x2, rho, _ends, done, _ in facts(experience, features, off):
        z = rho * (GAMMA * lam * z + x)
        a, b = a + np.outer(z, x - GAMMA * x2), b + r * z
        if done:
            z = np.zeros(d)
        yield np.linalg.solve(a, b)


TABLE = np.eye(5)
BOXES = {
    "td": (agents.TD(env=CLIPPED, **STEPS), td, TABLE, {}),
    "td, features": (agents.TD(env=CLIPPED, features=FEATURES, **STEPS), td, FEATURES, {}),
    "td, off-policy": (agents.TD(env=CLIPPED, **STEPS, **OFF), td, TABLE, {"off": True}),
    "1 step": (agents.NStepTD(env=CLIPPED, n=1, **STEPS), n_step_td, TABLE, {"n": 1}),
    "3 steps": (agents.NStepTD(env=CLIPPED, n=3, **STEPS), n_step_td, TABLE, {"n": 3}),
    "9 steps, features": (
        agents.NStepTD(env=CLIPPED, n=9, features=FEATURES, **STEPS),
        n_step_td,
        FEATURES,
        {"n": 9},
    ),
    "3 steps, off-policy": (
        agents.NStepTD(env=CLIPPED, n=3, **STEPS, **OFF),
        n_step_td,
        TABLE,
        {"n": 3, "off": True},
    ),
    **{
        f"td({lam}), {kind}": (
            agents.TDLambda(env=CLIPPED, lambda_=lam, trace=kind, features=features, **STEPS),
            td_lambda,
            TABLE if features is None else features,
            {"lam": lam, "kind": kind},
        )
        for lam, kind, features in (
            (0.6, "accumulating", FEATURES),
            (0.9, "replacing", None),
            (0.8, "dutch", FEATURES),
        )
    },
    "td(0.5), off-policy": (
        agents.TDLambda(env=CLIPPED, lambda_=0.5, **STEPS, **OFF),
        td_lambda,
        TABLE,
        {"lam": 0.5, "kind": "accumulating", "off": True},
    ),
    **{
        f"monte carlo, {visit}, {'weighted' if weighted else 'ordinary'}, "
        f"{'off' if off else 'on'}-policy": (
            agents.MonteCarloPrediction(
                env=ENV, visit=visit, weighted=weighted, **BASICS, **(OFF if off else {})
            ),
            monte_carlo,
            TABLE,
            {"visit": visit, "weighted": weighted, "off": off},
        )
        for visit, weighted, off in (
            ("first", False, False),
            ("every", False, False),
            ("every", True, True),
            ("first", True, True),
            ("first", False, True),
        )
    },
    "gtd2": (
        agents.GTD2(env=CLIPPED, features=FEATURES, second_rate=0.1, **STEPS, **OFF),
        gradient,
        FEATURES,
        {"kind": "gtd2", "beta": 0.1},
    ),
    "tdc": (
        agents.TDC(env=CLIPPED, features=FEATURES, second_rate=0.1, **STEPS, **OFF),
        gradient,
        FEATURES,
        {"kind": "tdc", "beta": 0.1},
    ),
    "emphatic": (
        agents.EmphaticTD(env=CLIPPED, lambda_=0.4, **(STEPS | OFF)),
        emphatic,
        TABLE,
        {"lam": 0.4},
    ),
    "lstd": (
        agents.LSTD(
            env=CLIPPED, features=FEATURES, lambda_=0.4, regularization=0.5, **BASICS, **OFF
        ),
        lstd,
        FEATURES,
        {"lam": 0.4, "epsilon": 0.5},
    ),
}


@pytest.mark.parametrize("name", BOXES)
def test_a_method_is_its_box(monkeypatch, name):
    agent, box, features, settings = BOXES[name]
    experience, states, _ = lived(monkeypatch, agent, 300)
    expected = np.stack(list(box(experience, features, **settings)))
    learned = states.weights
    if isinstance(agent, agents.LSTD):
        learned = quick.jit(jax.vmap(agent.solution))(
            states._replace(env_state=(), episode=(), visits=())
        )
    close = np.isclose(learned, expected, rtol=1e-3, atol=1e-3).all(axis=1)
    assert close[
        : np.argmax(np.abs(expected).max(axis=1) > 1e4) or None
    ].all()  # what diverges does so by rounding, too
    assert close[:100].all()


# ---------------------------------------------------------------- where they go

NUM_SEEDS = 64
KEYS = jax.vmap(lambda i: purerl.random.seed_key(3, i, "pcg4d"))(jnp.arange(NUM_SEEDS))
SLOWLY = {"learning_rate": schedule.power(0.5, 0.7, 10.0), "discount": GAMMA}
GENTLY = {"learning_rate": schedule.power(0.05, 0.6, 100.0), "discount": GAMMA}
TWO = {
    "learning_rate": schedule.power(0.1, 0.6, 1000.0),
    "second_rate": schedule.power(0.2, 0.5, 100.0),
    "discount": GAMMA,
}


@functools.cache
def fixed_point(on, lam, emphatic=False):
    """What TD(lambda) goes to, in the features of the tests."""
    law = mdp.stationary(ENV.mdp, jnp.asarray(TARGET if on else BEHAVIOUR))
    weights = mdp.emphasis(ENV.mdp, jnp.asarray(TARGET), law, GAMMA, lam) if emphatic else law
    return np.asarray(
        mdp.td_fixed_point(ENV.mdp, FEATURES, jnp.asarray(TARGET), weights, GAMMA, lam)
    )


def values():
    return np.asarray(mdp.evaluate_policy(ENV.mdp, jnp.asarray(TARGET), GAMMA).values)


def learned(agent, num_steps):
    """The learned values of every seed and state, ``[seeds, S]``."""

    def run(key):
        state, _ = training.segment(agent, agent.init(key), 0, num_steps)
        return jax.vmap(agent.value, (None, 0))(agent.snapshot(state), jnp.arange(5))

    return np.asarray(quick.optimizing_jit(jax.vmap(run))(KEYS))


def reaches(agent, expected, num_steps=40_000, tolerance=0.35):
    """Test that the mean over the seeds is the point, within what their spread allows,
    and each of them near it."""
    found = learned(agent, num_steps)
    error_of_mean = found.std(axis=0, ddof=1) / np.sqrt(NUM_SEEDS)
    close = np.abs(found.mean(axis=0) - expected) < 5 * error_of_mean + 0.02
    return bool(
        close.all()
        and np.isfinite(found).all()
        and np.abs(found - expected).max() < tolerance * np.abs(expected).max()
    )


ON = {"behavior": policy.Fixed(TARGET)}
TABULAR = {
    "td": agents.TD(env=ENV, **SLOWLY, **ON),
    "td, off-policy": agents.TD(env=ENV, **SLOWLY, **OFF),
    "5 steps": agents.NStepTD(env=ENV, n=5, **SLOWLY, **ON),
    "2 steps, off-policy": agents.NStepTD(env=ENV, n=2, **SLOWLY, **OFF),
    "td(0.8)": agents.TDLambda(env=ENV, lambda_=0.8, **SLOWLY, **ON),
    "td(0.8), replacing": agents.TDLambda(env=ENV, lambda_=0.8, trace="replacing", **SLOWLY, **ON),
    "td(0.8), dutch": agents.TDLambda(env=ENV, lambda_=0.8, trace="dutch", **SLOWLY, **ON),
    "td(0.3), off-policy": agents.TDLambda(env=ENV, lambda_=0.3, **SLOWLY, **OFF),
    "monte carlo, first": agents.MonteCarloPrediction(env=ENV, discount=GAMMA, **ON),
    "monte carlo, every": agents.MonteCarloPrediction(env=ENV, visit="every", discount=GAMMA, **ON),
    "monte carlo, weighted": agents.MonteCarloPrediction(
        env=ENV, weighted=True, discount=GAMMA, **OFF
    ),
    "lstd": agents.LSTD(env=ENV, discount=GAMMA, **OFF),
    "td, cut short": agents.TD(env=CLIPPED, **SLOWLY, **ON),
    "5 steps, cut short": agents.NStepTD(env=CLIPPED, n=5, **SLOWLY, **ON),
}


@pytest.mark.parametrize("name", TABULAR)
def test_tables_go_to_the_values_of_the_target(name):
    assert reaches(TABULAR[name], values())


LINEAR = {
    "td": (agents.TD(env=ENV, features=FEATURES, **SLOWLY, **ON), {"on": True, "lam": 0.0}),
    "td(0.7)": (
        agents.TDLambda(env=ENV, features=FEATURES, lambda_=0.7, **SLOWLY, **ON),
        {"on": True, "lam": 0.7},
    ),
    "td(0.7), dutch": (
        agents.TDLambda(env=ENV, features=FEATURES, lambda_=0.7, trace="dutch", **SLOWLY, **ON),
        {"on": True, "lam": 0.7},
    ),
    "gtd2": (agents.GTD2(env=ENV, features=FEATURES, **TWO, **OFF), {"on": False, "lam": 0.0}),
    "tdc": (agents.TDC(env=ENV, features=FEATURES, **TWO, **OFF), {"on": False, "lam": 0.0}),
    "emphatic": (
        agents.EmphaticTD(env=ENV, features=FEATURES, **GENTLY, **OFF),
        {"on": False, "lam": 0.0, "emphatic": True},
    ),
    "lstd(0.5)": (
        agents.LSTD(env=ENV, features=FEATURES, lambda_=0.5, discount=GAMMA, **OFF),
        {"on": False, "lam": 0.5},
    ),
}


@pytest.mark.parametrize("name", LINEAR)
def test_features_go_to_their_own_fixed_point(name):
    agent, which = LINEAR[name]
    assert reaches(agent, FEATURES @ fixed_point(**which), 200_000)


def test_the_fixed_points_differ():
    """So that the tests above can tell one from another."""
    points = [
        FEATURES @ fixed_point(*which)
        for which in ((True, 0.0), (True, 0.7), (False, 0.0), (False, 0.5), (False, 0.0, True))
    ]
    for i, one in enumerate(points):
        for other in points[:i]:
            assert np.abs(one - other).max() > 0.08


# ------------------------------------------------------------- wrong on purpose


class ThroughTheEnd(agents.TD):
    """Bootstraps from a terminal state."""

    def as_step(self, transition, t):
        step = super().as_step(transition, t)
        return step._replace(next_features=self.x(step.next_state))


class NoRatio(agents.TD):
    """Off-policy without importance sampling."""

    def as_step(self, transition, t):
        return super().as_step(transition, t)._replace(ratio=jnp.float32(1))


class OnePower(agents.NStepTD):
    """Bootstraps with ``discount`` where ``discount ** n`` is due."""

    def learn(self, state, step, t):
        return super().learn(
            state,
            step._replace(next_features=step.next_features * self.discount ** (1 - self.n)),
            t,
        )


class WrongSign(agents.TDC):
    """Corrects in the wrong direction; its fixed point is the same, but it does not
    hold."""

    def direction(self, step, delta, second, discount):
        return delta * step.features + discount * step.next_features * (step.features @ second)


class NoFollowOn(agents.EmphaticTD):
    """Forgets what was followed on."""

    def learn(self, state, step, t):
        trace, before = state.memory
        return super().learn(state._replace(memory=(trace, before * 0)), step, t)


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (ThroughTheEnd(env=ENV, **SLOWLY, **ON), values),
        (NoRatio(env=ENV, **SLOWLY, **OFF), values),
        (OnePower(env=ENV, n=5, **SLOWLY, **ON), values),
        (
            NoFollowOn(env=ENV, features=FEATURES, **GENTLY, **OFF),
            lambda: FEATURES @ fixed_point(False, 0.0, True),
        ),
    ],
    ids=lambda x: type(x).__name__,
)
def test_wrong_variants_do_not_get_there(wrong, expected):
    assert not reaches(wrong, expected(), 200_000 if wrong.features is not None else 40_000)


# ------------------------------------------------------------------- properties


def test_true_online_with_lambda_one_is_monte_carlo():
    """At the end of an episode, for constant step sizes and any features."""
    agent = agents.TDLambda(
        env=ENV, lambda_=1.0, trace="dutch", features=FEATURES, learning_rate=0.1, discount=GAMMA
    )
    state = quick.jit(agent.init)(KEYS[0])
    run = quick.jit(agent.step)
    w, steps = np.zeros(2), []
    for t in range(60):
        before = int(state.env_state)
        total = float(state.episode.episode_return)
        state, metrics = run(state, t)
        done = bool(metrics["episode_return"].count)
        reward = (
            float(metrics["episode_return"].total if done else state.episode.episode_return) - total
        )
        steps.append((before, reward))
        if done:
            for i, (s, _) in enumerate(steps):
                g = sum(GAMMA**k * r for k, (_, r) in enumerate(steps[i:]))
                w = w + 0.1 * (g - FEATURES[s] @ w) * FEATURES[s]
            np.testing.assert_allclose(state.weights, w, rtol=1e-3, atol=1e-4)
            steps = []
    assert len(steps) < 60


@pytest.mark.parametrize("lambda_", [0.0, 0.9])
def test_boyans_chain_is_solved_to_the_last_digit(lambda_):
    """Its values are linear in its features, so any weighting of states gives them."""
    chain = boyan_chain()
    agent = agents.LSTD(
        env=FiniteEnvironment.of(chain.mdp),
        features=chain.features,
        lambda_=lambda_,
        discount=1.0,
        regularization=1e-6,
    )
    run = quick.optimizing_jit(lambda key: training.segment(agent, agent.init(key), 0, 20_000))
    state, _ = run(KEYS[0])
    np.testing.assert_allclose(agent.solution(state), [-24, -16, -8, 0], atol=0.3)
    judged = evaluation.default(agent)

    @quick.jit
    def judge(state):
        return judged(agent, agent.snapshot(state), KEYS[0], judged.prepare(agent))

    assert judge(state)["value_error"] < 0.3


def baird(cls, **settings):
    star = baird_star()
    return cls(
        env=FiniteEnvironment.of(star.mdp),
        features=star.features,
        behavior=policy.Fixed(star.behavior),
        target=policy.Fixed(star.target),
        discount=0.99,
        initial_value=jnp.array([1.0, 1, 1, 1, 1, 1, 10, 1]),
        **settings,
    )


def test_td_diverges_on_bairds_counterexample_and_its_cures_do_not():
    def norms(agent):
        def run(key):
            return jnp.linalg.norm(
                training.segment(agent, agent.init(key), 0, 4_000)[0].weights @ agent.features.T
            )

        return np.asarray(quick.optimizing_jit(jax.vmap(run))(KEYS))

    start = np.linalg.norm(baird_star().features @ np.array([1, 1, 1, 1, 1, 1, 10, 1]))
    assert np.median(norms(baird(agents.TD, learning_rate=0.01))) > 100 * start
    assert not (
        np.sort(norms(baird(WrongSign, learning_rate=0.01, second_rate=0.05)))[6:] < 100 * start
    ).any()
    assert norms(baird(agents.TDC, learning_rate=0.005, second_rate=0.05)).max() < start
    assert norms(baird(agents.GTD2, learning_rate=0.005, second_rate=0.05)).max() < start


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: agents.NStepTD(env=ENV, n=0), "NStepTD: n is 0; allowed: a positive whole number"),
        (
            lambda: agents.TDLambda(env=ENV, lambda_=1.5),
            r"TDLambda: lambda_ is 1.5; allowed: a number in \[0, 1\]",
        ),
        (lambda: agents.TDLambda(env=ENV, trace="dutch", **OFF), "allowed with dutch traces: None"),
        (
            lambda: agents.TDLambda(env=ENV, trace="sharp"),
            "trace is 'sharp'; allowed: 'accumulating'",
        ),
        (lambda: agents.MonteCarloPrediction(env=ENV, features=FEATURES), "features are given"),
        (
            lambda: agents.MonteCarloPrediction(env=ENV, visit="last"),
            "visit is 'last'; allowed: 'first', 'every'",
        ),
        (
            lambda: agents.GTD2(env=ENV, second_rate=-1.0),
            "second_rate is -1.0; allowed: a finite number of at least 0",
        ),
        (lambda: agents.EmphaticTD(env=ENV, lambda_=-0.1), "lambda_ is -0.1"),
        (
            lambda: agents.LSTD(env=ENV, regularization=0.0),
            "regularization is 0.0; allowed: a finite number above 0",
        ),
        (lambda: agents.TD(env=ENV, learning_rate=-1.0), "learning_rate is -1.0"),
        (lambda: agents.TD(env=ENV, discount=1.1), "discount is 1.1"),
        (lambda: agents.TD(env=purerl.make("CartPole-v1")), "env is"),
    ],
)
def test_bad_input_is_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()
