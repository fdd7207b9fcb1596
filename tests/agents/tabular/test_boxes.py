"""Every method of control against the box of Sutton & Barto's book (or of its paper) in
plain Python, step by step.

An agent's experience is written down, and the box, fed with it, must have the agent's
table after each step.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rlax

import purerl
import purerl.random
from purerl import agents, mdp, policy, schedule
from purerl.envs import FiniteEnvironment, TimeLimit
from tests import quick
from tests.agents.lived import lived

GAMMA, ALPHA, EPSILON, START = 0.9, 0.25, 0.4, 0.3


def episodic(seed, actions=3, branching=2):
    """A garnet of five states of whose outcomes some end the episode."""

    @quick.jit
    def build():
        model = mdp.garnet(purerl.random.key(seed, "pcg4d"), 5, actions, branching)
        ends = jax.random.bernoulli(
            purerl.random.key(seed + 100, "pcg4d"), 0.12, model.terminated.shape
        )
        return model.replace(terminated=ends)

    return FiniteEnvironment.of(build())


ENV = episodic(0)
CLIPPED = TimeLimit(ENV, 6)
CERTAIN = episodic(3, branching=1)


def soft(q, epsilon=EPSILON):
    """Epsilon-greedy probabilities."""
    best = q == q.max()
    return epsilon / len(q) + (1 - epsilon) * best / best.sum()


def table(env=ENV):
    return np.full((env.num_states, env.num_actions), START, np.float32)


def facts(experience):
    """(S, A, R, S', terminated, ended, A'): the last None where the episode has
    ended."""
    for now, later in zip(experience, [*experience[1:], None], strict=True):
        done = bool(now.terminated | now.truncated)
        next_action = None if done or later is None else int(later.action)
        yield (
            int(now.observation),
            int(now.action),
            float(now.reward),
            int(now.next_observation),
            bool(now.terminated),
            done,
            (next_action),
        )


def sarsa(experience, **_):
    """Section 6.4, the error by rlax."""
    q = table()
    for s, a, r, s2, ends, _done, a2 in facts(experience):
        error = rlax.sarsa(q[s], a, r, GAMMA * (not ends), q[s2], a2 or 0)
        q[s, a] += ALPHA * error
        yield q


def expected_sarsa(experience, target=soft, **_):
    """Equation 6.9, the error by rlax."""
    q = table()
    for s, a, r, s2, ends, _done, _ in facts(experience):
        q[s, a] += ALPHA * rlax.expected_sarsa(
            q[s], a, r, GAMMA * (not ends), q[s2], jnp.asarray(target(q[s2]), jnp.float32)
        )
        yield q


def double_q(experience, learn_keys):
    """Section 6.7, the error by rlax; the coin is the agent's."""
    q = np.stack([table(), table()])
    error = jax.jit(rlax.double_q_learning)
    words = jax.jit(jax.vmap(functools.partial(jax.random.bits, dtype=jnp.uint32)))(learn_keys)
    coins = (np.asarray(words) & 1).tolist()
    for (s, a, r, s2, ends, _done, _), i in zip(facts(experience), coins, strict=True):
        discount = GAMMA * (not ends)
        q[i, s, a] += ALPHA * error(q[i, s], a, float(r), discount, q[1 - i, s2], q[i, s2])
        yield q


def n_step_sarsa(experience, n, importance=None, **_):
    """Sections 7.2 and 7.3. ``importance(s, a)`` is the ratio of two policies that
    do not learn."""
    q, steps = table(), []
    for s, a, r, s2, ends, done, a2 in facts(experience):
        steps.append((s, a, r))
        due = (
            range(max(len(steps) - n, 0), len(steps))
            if done
            else [len(steps) - n]
            if len(steps) >= n
            else []
        )
        for tau in due:
            window = steps[tau : tau + n]
            g = sum(GAMMA**i * step[2] for i, step in enumerate(window))
            taken = [step[:2] for step in window[1:]]
            if not ends:
                g += GAMMA ** len(window) * q[s2, a2]
                taken.append((s2, a2))
            rho = np.prod([importance(*pair) for pair in taken]) if importance else 1.0
            pair = steps[tau][:2]
            q[pair] += ALPHA * rho * (g - q[pair])
        if done:
            steps = []
        yield q


def tree_backup(experience, n, target=soft, **_):
    """Section 7.5."""
    q, steps = table(), []
    for s, a, r, s2, ends, done, _ in facts(experience):
        steps.append((s, a, r))
        due = (
            range(max(len(steps) - n, 0), len(steps))
            if done
            else [len(steps) - n]
            if len(steps) >= n
            else []
        )
        for tau in due:
            window = steps[tau : tau + n]
            g = window[-1][2] + (0 if ends else GAMMA * target(q[s2]) @ q[s2])
            for k in range(len(window) - 1, 0, -1):
                state, action, _ = window[k]
                pi = target(q[state])
                rest = sum(pi[b] * q[state, b] for b in range(3) if b != action)
                g = window[k - 1][2] + GAMMA * rest + GAMMA * pi[action] * g
            pair = steps[tau][:2]
            q[pair] += ALPHA * (g - q[pair])
        if done:
            steps = []
        yield q


def sarsa_lambda(experience, lam, kind, **_):
    """Sections 12.7 and, for dutch traces, the box of true online Sarsa, both with
    one-hot features."""
    q, z, q_old = table(), np.zeros(table().shape), 0.0
    for s, a, r, s2, ends, done, a2 in facts(experience):
        following = 0.0 if ends else q[s2, a2 if a2 is not None else 0]
        here = q[s, a].copy()
        delta = r + GAMMA * following - here
        if kind == "dutch":
            x = np.zeros_like(z)
            x[s, a] = 1
            z = GAMMA * lam * z + (1 - ALPHA * GAMMA * lam * z[s, a]) * x
            q += ALPHA * (delta + here - q_old) * z - ALPHA * (here - q_old) * x
            q_old = following
        else:
            z[s, a] = 1 if kind == "replacing" else z[s, a] + 1
            q += ALPHA * delta * z
            z *= GAMMA * lam
        if done:
            z, q_old = np.zeros_like(z), 0.0
        yield q


def q_lambda(experience, lam, kind, **_):
    """Section 7.6 of the first edition."""
    q, e = table(), np.zeros(table().shape)
    for s, a, r, s2, ends, done, a2 in facts(experience):
        best = q[s2].max()
        greedy = a2 is not None and q[s2, a2] == best
        delta = r + GAMMA * (0 if ends else best) - q[s, a]
        e[s, a] = 1 if kind == "replacing" else e[s, a] + 1
        q += ALPHA * delta * e
        e *= GAMMA * lam if greedy and not done else 0
        yield q


def monte_carlo(experience, visit, **_):
    """Section 5.4, all returns kept and averaged."""
    q, returns, steps = table(), {}, []
    for s, a, r, _s2, _ends, done, _ in facts(experience):
        steps.append((s, a, r))
        if done:
            g = 0.0
            for i in range(len(steps) - 1, -1, -1):
                *pair, reward = steps[i]
                g = GAMMA * g + reward
                if visit == "every" or tuple(pair) not in [step[:2] for step in steps[:i]]:
                    returns.setdefault(tuple(pair), []).append(g)
                    q[tuple(pair)] = np.mean(returns[tuple(pair)])
            steps = []
        yield q


def off_policy_monte_carlo(experience, **_):
    """Section 5.7, with a target that changes between episodes only."""
    q, c, steps = table(), np.zeros(table().shape), []
    for s, a, r, _s2, _ends, done, _ in facts(experience):
        steps.append((s, a, r, soft(q[s])[a], soft(q[s], 0.0)[a]))
        if done:
            g, w = 0.0, 1.0
            for state, action, reward, b, pi in reversed(steps):
                g = GAMMA * g + reward
                c[state, action] += w
                if w > 0:
                    q[state, action] += w / c[state, action] * (g - q[state, action])
                w *= pi / b
            steps = []
        yield q


def ucb(experience, horizon, c, iota, **_):
    """Algorithm 1 of Jin et al."""
    q, n = np.full(table().shape, float(horizon)), np.zeros(table().shape, int)
    for s, a, r, s2, ends, _done, _ in facts(experience):
        n[s, a] += 1
        alpha, bonus = (horizon + 1) / (horizon + n[s, a]), c * np.sqrt(horizon**3 * iota / n[s, a])
        value = 0 if ends else min(horizon, q[s2].max())
        q[s, a] = (1 - alpha) * q[s, a] + alpha * (r + value + bonus)
        yield q


def differential_q(experience, eta, r_learning=False, **_):
    """Equations 5 and 6 of Wan et al., and Schwartz's; an episode that ends goes on
    where the next begins."""
    q, mean = table(), 0.0
    for i, (s, a, r, s2, ends, _done, _) in enumerate(facts(experience)):
        if i + 1 == len(experience):
            break
        s2 = int(experience[i + 1].observation) if ends else s2
        delta = r - mean + q[s2].max() - q[s, a]
        if r_learning:
            mean += eta * delta if q[s, a] == q[s].max() else 0
        else:
            mean += eta * ALPHA * delta
        q[s, a] += ALPHA * delta
        yield q


def gradient_bandit(experience, baseline, **_):
    """Section 2.8, for each state."""
    h, rewards = table(), {}
    for s, a, r, *_ in facts(experience):
        seen = rewards.setdefault(s, [])
        average = np.mean(seen) if seen else r
        pi = np.exp(h[s]) / np.exp(h[s]).sum()
        h[s] += ALPHA * (r - (average if baseline else 0)) * (np.eye(3)[a] - pi)
        seen.append(r)
        yield h


epsilon_greedy = jax.jit(purerl.policy.epsilon_greedy)


@functools.partial(jax.jit, static_argnums=2)
def drawn_by_dyna(key, size, n):
    state_key, action_key = jax.random.split(key)
    return jax.random.randint(state_key, (n,), 0, size), jax.random.split(action_key, n)


def dyna_q(experience, learn_keys, n, curiosity=None):
    """Section 8.2 and, where curious, 8.3; what is imagined is drawn as the agent
    draws it."""
    q, model, last, order = table(CERTAIN), {}, {}, []
    for t, ((s, a, r, s2, ends, _done, _), key) in enumerate(
        zip(facts(experience), learn_keys, strict=True)
    ):
        q[s, a] += ALPHA * (r + (0 if ends else GAMMA * q[s2].max()) - q[s, a])
        if s not in order:
            order.append(s)
        model[s, a], last[s, a] = (r, s2, ends), t
        places, action_keys = drawn_by_dyna(key, len(order), n)
        for place, each in zip(np.asarray(places), action_keys, strict=True):
            state = order[place]
            allowed = np.array(
                [curiosity is not None or (state, b) in model for b in range(3)], np.float32
            )
            action = int(epsilon_greedy(each, allowed, 0.0))
            assert allowed[action]
            reward, there, over = model.get((state, action), (0.0, state, False))
            bonus = (
                0.0 if curiosity is None else curiosity * np.sqrt(t - last.get((state, action), -1))
            )
            q[state, action] += ALPHA * (
                reward + bonus + (0 if over else GAMMA * q[there].max()) - q[state, action]
            )
        yield q


def prioritized_sweeping(experience, n, theta, **_):
    """Section 8.4, the queue a dictionary; up to where rounding decides which of two
    is the first in it."""
    q, model, queue = table(CERTAIN), {}, {}

    def priority(pair):
        r, s2, ends = model[pair]
        return abs(r + (0 if ends else GAMMA * q[s2].max()) - q[pair])

    for s, a, r, s2, ends, _done, _ in facts(experience):
        model[s, a] = r, s2, ends
        if priority((s, a)) > theta:
            queue[s, a] = max(queue.get((s, a), 0), priority((s, a)))
        for _ in range(n):
            if not queue:
                break
            pair, *others = sorted(queue, key=queue.get, reverse=True)
            if others and queue[pair] - queue[others[0]] < 1e-5:
                return
            del queue[pair]
            reward, there, over = model[pair]
            q[pair] += ALPHA * (reward + (0 if over else GAMMA * q[there].max()) - q[pair])
            for before, (_, leads_to, over) in model.items():
                if leads_to == pair[0] and not over and priority(before) > theta:
                    queue[before] = max(queue.get(before, 0), priority(before))
        yield q


UNIFORM = policy.EpsilonGreedy(1.0)
SOME = np.random.default_rng(5).dirichlet(np.ones(3), size=5).astype(np.float32)
BASICS = {"learning_rate": ALPHA, "discount": GAMMA, "epsilon": EPSILON, "initial_value": START}
NO_SIZE = {key: BASICS[key] for key in ("discount", "epsilon", "initial_value")}
NO_DISCOUNT = {key: BASICS[key] for key in ("learning_rate", "epsilon", "initial_value")}
BOXES = {
    "sarsa": (agents.SARSA(env=ENV, **BASICS), sarsa, {}),
    "expected sarsa": (agents.ExpectedSARSA(env=CLIPPED, **BASICS), expected_sarsa, {}),
    "expected sarsa of another": (
        agents.ExpectedSARSA(env=CLIPPED, target=policy.EpsilonGreedy(0.1), **BASICS),
        expected_sarsa,
        {"target": lambda q: soft(q, 0.1)},
    ),
    "double q": (agents.DoubleQLearning(env=CLIPPED, **BASICS), double_q, {}),
    "n-step sarsa, 1": (agents.NStepSARSA(env=ENV, n=1, **BASICS), n_step_sarsa, {"n": 1}),
    "n-step sarsa, 3": (agents.NStepSARSA(env=ENV, n=3, **BASICS), n_step_sarsa, {"n": 3}),
    "n-step sarsa, longer than episodes": (
        agents.NStepSARSA(env=ENV, n=40, **BASICS),
        n_step_sarsa,
        {"n": 40},
    ),
    "n-step sarsa, off-policy": (
        agents.NStepSARSA(env=ENV, n=3, behavior=UNIFORM, target=policy.Fixed(SOME), **BASICS),
        n_step_sarsa,
        {"n": 3, "importance": lambda s, a: SOME[s, a] * 3},
    ),
    "tree backup, 1": (agents.TreeBackup(env=CLIPPED, n=1, **BASICS), tree_backup, {"n": 1}),
    "tree backup, 3": (agents.TreeBackup(env=CLIPPED, n=3, **BASICS), tree_backup, {"n": 3}),
    "tree backup, 5, greedy": (
        agents.TreeBackup(env=CLIPPED, n=5, target=policy.Greedy(), **BASICS),
        tree_backup,
        {"n": 5, "target": lambda q: soft(q, 0.0)},
    ),
    **{
        f"sarsa({lam}), {kind}": (
            agents.SARSALambda(env=ENV, lambda_=lam, trace=kind, **BASICS),
            sarsa_lambda,
            {"lam": lam, "kind": kind},
        )
        for lam, kind in ((0.7, "accumulating"), (0.9, "replacing"), (0.8, "dutch"))
    },
    **{
        f"q({lam}), {kind}": (
            agents.QLambda(env=CLIPPED, lambda_=lam, trace=kind, **BASICS),
            q_lambda,
            {"lam": lam, "kind": kind},
        )
        for lam, kind in ((0.7, "accumulating"), (0.9, "replacing"))
    },
    **{
        f"monte carlo, {visit}": (
            agents.MonteCarlo(env=ENV, visit=visit, **NO_SIZE),
            monte_carlo,
            {"visit": visit},
        )
        for visit in ("first", "every")
    },
    "off-policy monte carlo": (
        agents.OffPolicyMonteCarlo(env=ENV, **NO_SIZE),
        off_policy_monte_carlo,
        {},
    ),
    "ucb": (
        agents.UCBQLearning(env=CLIPPED, horizon=6, confidence=0.1, log_term=3.0),
        ucb,
        {"horizon": 6, "c": 0.1, "iota": 3.0},
    ),
    "differential q": (
        agents.DifferentialQLearning(env=CLIPPED, gain_rate=0.3, **NO_DISCOUNT),
        differential_q,
        {"eta": 0.3},
    ),
    "r-learning": (
        agents.RLearning(env=CLIPPED, gain_rate=0.05, **NO_DISCOUNT),
        differential_q,
        {"eta": 0.05, "r_learning": True},
    ),
    **{
        f"gradient bandit, {baseline}": (
            agents.GradientBandit(
                env=CLIPPED, learning_rate=ALPHA, initial_value=START, baseline=baseline
            ),
            gradient_bandit,
            {"baseline": baseline},
        )
        for baseline in (True, False)
    },
    "dyna-q": (agents.DynaQ(env=CERTAIN, planning_steps=3, **BASICS), dyna_q, {"n": 3}),
    "dyna-q+": (
        agents.DynaQPlus(env=CERTAIN, planning_steps=3, curiosity=0.02, **BASICS),
        dyna_q,
        {"n": 3, "curiosity": 0.02},
    ),
    "prioritized sweeping": (
        agents.PrioritizedSweeping(env=CERTAIN, planning_steps=3, threshold=0.01, **BASICS),
        prioritized_sweeping,
        {"n": 3, "theta": 0.01},
    ),
}


@pytest.mark.parametrize("name", BOXES)
def test_a_method_is_its_box(monkeypatch, name):
    agent, box, settings = BOXES[name]
    num_steps = 400
    experience, states, key = lived(monkeypatch, agent, num_steps)
    if box in (double_q, dyna_q):
        times = jnp.arange(num_steps)
        settings = settings | {
            "learn_keys": jax.jit(
                jax.vmap(lambda t: jax.random.split(jax.random.fold_in(key, t), 3)[2])
            )(times)
        }
    elif box in (
        sarsa,
        n_step_sarsa,
        sarsa_lambda,
    ):  # what they would do next is not seen after the last step
        experience = experience[: max(i for i, x in enumerate(experience) if x.terminated) + 1]
    expected = np.stack([q.copy() for q in box(experience, **settings)])
    assert len(expected) > 100 and sum(bool(x.terminated) for x in experience) >= 4
    np.testing.assert_allclose(states.q[: len(expected)], expected, rtol=2e-4, atol=2e-4)
    assert np.abs(expected[-1] - expected[len(expected) // 2]).max() > 0.01  # it is still learning


def test_averages_need_no_counts_in_the_box():
    """Sample averages are what step sizes of ``1 / n`` come to."""
    assert agents.MonteCarlo(env=ENV).learning_rate == schedule.power(1.0, 1.0)


class NotCut(agents.QLambda):
    """Lets traces live on after an action that explores."""

    def bootstrap(self, next_q, next_action):
        return jnp.max(next_q), jnp.bool_(True)


class AcrossEpisodes(agents.SARSALambda):
    """Lets traces live on in the next episode."""

    def learn(self, key, state, transition, t):
        after = super().learn(key, state, transition._replace(terminated=jnp.bool_(False)), t)
        ends = transition.terminated
        return after._replace(
            memory=after.memory._replace(next_action=jnp.where(ends, -1, after.memory.next_action))
        )


class NoShare(agents.TreeBackup):
    """Follows what was taken as if it were certain."""

    def target_pi(self, state, observation, t):
        return jnp.ones(3) / 3


WRONG = {
    "q(0.7), accumulating": NotCut,
    "sarsa(0.7), accumulating": AcrossEpisodes,
    "tree backup, 3": NoShare,
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_variants_are_not_their_box(monkeypatch, name):
    right, box, settings = BOXES[name]
    wrong = WRONG[name](
        **{field.name: getattr(right, field.name) for field in dataclasses.fields(right)}
    )
    experience, states, _ = lived(monkeypatch, wrong, 200)
    experience = experience[: max(i for i, x in enumerate(experience) if x.terminated) + 1]
    expected = np.stack([q.copy() for q in box(experience, **settings)])
    assert np.abs(states.q[: len(expected)] - expected).max() > 0.05
