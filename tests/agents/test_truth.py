"""Limits of methods of control, against exact solutions: the optimum, or the best
epsilon-soft policy's values, or the gain."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purerl
import purerl.random
from purerl import agents, mdp, policy, schedule
from purerl.envs import FiniteEnvironment, TimeLimit
from purerl.envs.diagnostic import Testbed
from purerl.run import evaluation, training
from tests import quick

GAMMA, EPSILON, OMEGA = 0.8, 0.3, 0.8
NUM_SEEDS = 64


def ending(i, branching=2, ends=0.15):
    """Random models of four states and two actions, in which any step may be the
    last of its episode."""
    model = mdp.garnet(purerl.random.seed_key(5, i, "pcg4d"), 4, 2, branching)

    def more(table, value):
        return jnp.concatenate(
            [table, jnp.full((*table.shape[:2], 1), value, table.dtype)], axis=-1
        )

    return mdp.FiniteMDP(
        probability=more(model.probability * (1 - ends), ends),
        next_state=more(model.next_state, 0),
        reward=more(model.reward, 1.0),
        terminated=more(model.terminated, True),
        initial=model.initial,
    )


# Step sizes of n ** -0.8, by visits: they satisfy the theorems.
BASICS = {"learning_rate": schedule.power(1.0, OMEGA), "count_visits": True, "discount": GAMMA}
SOFT, UNIFORM, HALF = ({"epsilon": epsilon, **BASICS} for epsilon in (EPSILON, 1.0, 0.5))
GREEDY = {"target": policy.Greedy()}
# name: (class, hyperparameters, the epsilon of the policies among which its limit is
# the best)
METHODS = {
    "q-learning": (agents.QLearning, UNIFORM, 0),
    "double q-learning": (agents.DoubleQLearning, UNIFORM, 0),
    "expected sarsa of the greedy policy": (agents.ExpectedSARSA, UNIFORM | GREEDY, 0),
    "3-step sarsa of the greedy policy": (agents.NStepSARSA, HALF | GREEDY | {"n": 3}, 0),
    "tree backup of the greedy policy": (agents.TreeBackup, UNIFORM | GREEDY | {"n": 3}, 0),
    **{
        f"q(0.7), {kind}": (agents.QLambda, HALF | {"lambda_": 0.7, "trace": kind}, 0)
        for kind in agents.TRACES
    },
    "off-policy monte carlo": (agents.OffPolicyMonteCarlo, {"discount": GAMMA, "epsilon": 0.5}, 0),
    "sarsa": (agents.SARSA, SOFT, EPSILON),
    "expected sarsa": (agents.ExpectedSARSA, SOFT, EPSILON),
    "3-step sarsa": (agents.NStepSARSA, SOFT | {"n": 3}, EPSILON),
    "tree backup": (agents.TreeBackup, SOFT | {"n": 3}, EPSILON),
    **{
        f"sarsa(0.7), {kind}": (agents.SARSALambda, SOFT | {"lambda_": 0.7, "trace": kind}, EPSILON)
        for kind in agents.TRACES
    },
    "monte carlo, first visits": (agents.MonteCarlo, SOFT, EPSILON),
    "monte carlo, every visit": (agents.MonteCarlo, SOFT | {"visit": "every"}, EPSILON),
}
TIMES = 4_000, 16_000, 64_000


@functools.cache
def models():
    """One for each seed, leaves ``[NUM_SEEDS, ...]``."""
    return quick.jit(jax.vmap(ending))(jnp.arange(NUM_SEEDS))


@quick.jit
def limits(models, epsilon):
    """Action values of the best of the epsilon-soft policies, ``[NUM_SEEDS, S, A]``."""
    return jax.vmap(lambda model: mdp.epsilon_soft_optimal(model, GAMMA, epsilon).q)(models)


@functools.cache
def one_model():
    return quick.jit(ending)(3)


def errors(cls, fields, static, epsilon, times=TIMES, lanes=NUM_SEEDS, first_seed=0):
    """The largest error of the table at some times, multiples of the first, each seed
    with a model of its own: ``[lanes, times]``."""
    return errors_in(
        models(), limits(models(), epsilon), cls, fields, static, times, lanes, first_seed
    )


@functools.partial(quick.optimizing_jit, static_argnums=(2, 4, 5, 6))
def errors_in(models, limits, cls, fields, static, times, lanes, first_seed):
    def run(i):
        model = jax.tree.map(lambda leaf: leaf[i % NUM_SEEDS], models)
        agent = cls(env=FiniteEnvironment.of(model), **fields, **dict(static))
        limit = limits[i % NUM_SEEDS]

        def go_on(state, i):
            state, _ = training.segment(agent, state, i * times[0], times[0])
            q = jax.vmap(agent.values, (None, 0))(agent.snapshot(state), jnp.arange(4))
            return state, jnp.max(jnp.abs(q - limit))

        start = agent.init(purerl.random.seed_key(6, first_seed + i, "pcg4d"))
        found = jax.lax.scan(go_on, start, jnp.arange(times[-1] // times[0]))[1]
        return jnp.stack([found[time // times[0] - 1] for time in times])

    return jax.vmap(run)(jnp.arange(lanes))


def split(fields):
    """What is traced, and what is static."""
    static = ("count_visits", "n", "trace", "visit", "target", "planning_steps")
    return {k: v for k, v in fields.items() if k not in static}, tuple(
        (k, v) for k, v in fields.items() if k in static
    )


def converges(cls, fields, epsilon):
    """Test that a table comes near its limit, and at the rate of ``t ** (-omega / 2)``
    that its step sizes predict."""
    found = np.asarray(errors(cls, *split(fields), epsilon))
    slopes = np.polyfit(np.log(TIMES), np.log(found).T, 1)[0]
    error_of_mean = slopes.std(ddof=1) / np.sqrt(NUM_SEEDS)
    return found[:, -1].mean() < 0.1 and abs(slopes.mean() + OMEGA / 2) < 4 * error_of_mean + 0.05


@pytest.mark.parametrize(
    "name",
    [name for name in METHODS if name not in ("off-policy monte carlo", "double q-learning")],
)
def test_methods_of_control_reach_their_limits_at_the_predicted_rate(name):
    assert converges(*METHODS[name])


def test_double_q_learning_catches_up():
    """Each table learns from every second step, and underestimates in between: it is
    late, and falls faster."""
    found = np.asarray(errors(agents.DoubleQLearning, *split(UNIFORM), 0))
    assert (
        found[:, -1].mean() < 0.1 and (found.mean(axis=0)[1:] < 0.7 * found.mean(axis=0)[:-1]).all()
    )


def test_off_policy_monte_carlo_comes_nearer():
    """Its averages still hold the returns of former targets, which fade as ``1 / n``
    does."""
    found = np.asarray(
        errors(
            *METHODS["off-policy monte carlo"][:1], *split(METHODS["off-policy monte carlo"][1]), 0
        )
    )
    assert found[:, -1].mean() < 0.3 and found[:, -1].mean() < 0.6 * found[:, 0].mean()


# ------------------------------------------------------------- wrong on purpose


class ThroughTheEnd(agents.QLearning):
    """Bootstraps from a terminal state."""

    def learn(self, key, state, transition, t):
        return super().learn(key, state, transition._replace(terminated=jnp.bool_(False)), t)


class OnePower(agents.NStepSARSA):
    """Bootstraps with ``discount`` where ``discount ** n`` is due."""

    def learn(self, key, state, transition, t):
        more = self.discount ** (1 - self.n)
        there = transition.next_observation
        wrong = super().learn(
            key, state._replace(q=state.q.at[there].multiply(more)), transition, t
        )
        return wrong._replace(q=wrong.q.at[there].divide(more))


WRONG = {
    "through the end": (ThroughTheEnd, UNIFORM, 0),
    "one power": (OnePower, SOFT | {"n": 3}, EPSILON),
    "no importance sampling": (agents.NStepSARSA, HALF | {"n": 3}, 0),
    "sarsa for the optimum": (agents.SARSA, SOFT, 0),
    "q-learning for the soft optimum": (agents.QLearning, SOFT, EPSILON),
    "expected sarsa of a uniform policy": (
        agents.ExpectedSARSA,
        UNIFORM | {"target": policy.EpsilonGreedy(1.0)},
        0,
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_variants_do_not_get_there(name):
    assert not converges(*WRONG[name])


# ------------------------------------------------------------------- other limits

KEYS = jax.vmap(lambda i: purerl.random.seed_key(9, i, "pcg4d"))(jnp.arange(NUM_SEEDS))


def trained(agent, num_steps):
    return quick.optimizing_jit(
        jax.vmap(lambda key: training.segment(agent, agent.init(key), 0, num_steps))
    )(KEYS)


@pytest.mark.parametrize(
    ("cls", "fields"),
    [
        (agents.DynaQ, {"planning_steps": 5}),
        (agents.DynaQPlus, {"planning_steps": 5, "curiosity": 0.0}),
        (agents.PrioritizedSweeping, {"planning_steps": 5, "threshold": 1e-5}),
    ],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_planning_with_a_certain_model_is_exact(cls, fields):
    """Nothing is random, so that a constant step size leaves no error."""

    def solved(i):
        model = mdp.garnet(purerl.random.seed_key(5, i, "pcg4d"), 6, 3, 1)
        return model, mdp.optimal_q(model, GAMMA)

    def run(i, model, optimum):
        agent = cls(
            env=TimeLimit(FiniteEnvironment.of(model), 10),
            discount=GAMMA,
            learning_rate=0.5,
            epsilon=1.0,
            **fields,
        )
        state, _ = training.segment(
            agent, agent.init(purerl.random.seed_key(6, i, "pcg4d")), 0, 4_000
        )
        met = jnp.zeros(6, bool).at[state.memory.model.next_state].set(True)
        tried = (
            state.memory.leads_to >= 0
            if cls is agents.PrioritizedSweeping
            else state.memory.last >= 0
        )
        return jnp.max(jnp.abs(state.q - optimum), where=tried & met[:, None], initial=0), jnp.sum(
            tried
        )

    seeds = jnp.arange(NUM_SEEDS)
    error, tried = quick.optimizing_jit(jax.vmap(run))(seeds, *quick.jit(jax.vmap(solved))(seeds))
    assert np.max(error) < 1e-3 and np.mean(tried) > 10


def test_curiosity_finds_the_shortcut():
    """Dyna-Q+ goes on trying, and Dyna-Q keeps to the long way: the book's example
    8.3."""

    def late_returns(cls, **fields):
        env = purerl.make("ShortcutMaze-v0")
        agent = cls(
            env=env, discount=0.95, learning_rate=0.5, epsilon=0.1, planning_steps=20, **fields
        )

        def run(key):
            _, metrics = jax.lax.scan(
                lambda state, start: training.segment(agent, state, start, 1_000),
                agent.init(key),
                jnp.arange(0, 6_000, 1_000),
            )
            return metrics["episode_return"].total[-1]

        return np.asarray(quick.optimizing_jit(jax.vmap(run))(KEYS[:16]))

    plain, curious = late_returns(agents.DynaQ), late_returns(agents.DynaQPlus, curiosity=1e-3)
    assert curious.mean() > 1.2 * plain.mean()


@pytest.mark.parametrize("cls", [agents.DifferentialQLearning, agents.RLearning])
def test_without_a_discount_the_gain_is_found(cls):
    env = FiniteEnvironment.of(mdp.garnet(purerl.random.key(2, "pcg4d"), 6, 3, 3))
    rates = {
        "learning_rate": schedule.power(0.5, 0.6, 1_000.0),
        "gain_rate": 0.003 if cls is agents.RLearning else 0.1,
    }
    agent = cls(env=env, epsilon=0.5, **rates)
    state, _ = trained(agent, 200_000)
    best = mdp.optimal_average_reward(env.mdp)
    judge = evaluation.default(agent)
    assert isinstance(judge, evaluation.ExactGain)
    measures = quick.jit(
        jax.vmap(lambda state, key: judge(agent, agent.snapshot(state), key, judge.prepare(agent)))
    )(state, KEYS)
    measures = jax.tree.map(np.asarray, measures)
    assert (
        np.mean(measures["policy_regret"]) < 0.01 * best.gain
        and np.max(measures["policy_regret"]) < 0.05 * best.gain
    )
    assert (
        np.max(measures["gain_error"]) < 0.3 * best.gain
        and np.mean(measures["gain_error"]) < 0.1 * best.gain
    )


def test_r_max_is_near_the_optimum_once_all_is_known():
    env = FiniteEnvironment.of(one_model())
    agent = agents.RMax(env=env, discount=GAMMA, max_reward=5.0, known_after=1_000)
    state, _ = trained(agent, 30_000)
    assert (np.asarray(state.visits) >= 1_000).all()
    exact = mdp.optimal_q(env.mdp, GAMMA)
    # Rewards are of order one and counted a thousand times: their mean errs by a
    # hundredth or so, values by five times that.
    assert (
        np.abs(np.asarray(state.q) - exact).max() < 0.5
        and np.abs(np.asarray(state.q).mean(axis=0) - exact).max() < 0.1
    )


def test_r_max_is_optimistic_until_then():
    agent = agents.RMax(
        env=FiniteEnvironment.of(one_model()), discount=GAMMA, max_reward=5.0, known_after=1_000
    )
    state, _ = trained(agent, 2_000)
    q, visits = np.asarray(state.q), np.asarray(state.visits)
    np.testing.assert_allclose(q[visits < 1_000], 25.0, rtol=1e-5)
    assert (visits < 1_000).any()


def test_posterior_sampling_believes_less_and_less_else():
    env = FiniteEnvironment.of(one_model())
    agent = agents.PSRL(env=env, discount=GAMMA, period=10)

    @quick.jit
    @jax.vmap
    def values(q):
        return mdp.expected_return(env.mdp, mdp.greedy(q), GAMMA)

    @quick.optimizing_jit
    @functools.partial(jax.vmap, in_axes=(0, None))
    def five_hundred_steps(state, start):
        return training.segment(agent, state, start, 500)[0]

    best = values(mdp.optimal_q(env.mdp, GAMMA)[None])
    state, regrets = quick.jit(jax.vmap(agent.init))(KEYS), {}
    for num_steps in range(0, 8_001, 500):
        if num_steps in (0, 500, 8_000):
            regrets[num_steps] = np.mean(best - values(state.q))
        state = five_hundred_steps(state, num_steps)
    assert regrets[8_000] < 0.01 * best + 0.02 < regrets[500] + 0.05
    assert regrets[500] < 0.5 * regrets[0]


def optimistic(confidence, num_steps, lanes=NUM_SEEDS):
    """By how much ``Q_h`` exceeds ``Q*_h`` at least, and the share of the best value
    that is lacking, over 64 models in turn: ``[lanes]`` each."""

    lane = jnp.arange(lanes)
    model, exact = models_of_four_steps(lane)
    state = ucb_learning(model, confidence, lane, num_steps)
    return exceeds_and_lacks(model, exact, state.q)


@quick.jit
@jax.vmap
def models_of_four_steps(i):
    model = mdp.garnet(purerl.random.seed_key(5, i % NUM_SEEDS, "pcg4d"), 3, 2, 2)
    model = mdp.time_expanded(model.replace(reward=jax.nn.sigmoid(model.reward)), 4)
    return model, mdp.optimal_q(model, 1.0)


@functools.partial(quick.optimizing_jit, static_argnums=3)
def ucb_learning(models, confidence, lanes, num_steps):
    def run(model, i):
        agent = agents.UCBQLearning(
            env=FiniteEnvironment.of(model), horizon=4, confidence=confidence, log_term=10.0
        )
        start = agent.init(purerl.random.seed_key(6, i, "pcg4d"))
        return training.segment(agent, start, 0, num_steps)[0]

    return jax.vmap(run)(models, lanes)


@quick.jit
@jax.vmap
def exceeds_and_lacks(model, exact, learned):
    best, value = (mdp.expected_return(model, mdp.greedy(q), 1.0) for q in (exact, learned))
    return jnp.min(learned - exact), 1 - value / best


def test_optimism_holds_with_the_constant_of_the_proof_and_learns_with_a_small_one():
    """``Q_h >= Q*_h`` throughout, and the policy comes to be optimal."""
    assert np.min(optimistic(1.0, 20_000)[0]) > -1e-3
    assert np.mean(optimistic(0.02, 100_000)[1]) < 0.01


@pytest.mark.parametrize(
    "agent",
    [
        agents.QLearning(
            env=Testbed(), discount=0.0, learning_rate=schedule.power(1.0, 1.0), count_visits=True
        ),
        agents.QLearning(
            env=Testbed(),
            discount=0.0,
            behavior=policy.UCB(2.0),
            learning_rate=schedule.power(1.0, 1.0),
            count_visits=True,
        ),
        agents.QLearning(
            env=Testbed(),
            discount=0.0,
            behavior=policy.Thompson(),
            learning_rate=schedule.power(1.0, 1.0),
            count_visits=True,
        ),
        agents.GradientBandit(env=Testbed(), learning_rate=0.1),
        agents.QLearning(
            env=Testbed(), discount=0.0, learning_rate=0.1, initial_value=5.0, epsilon=0.0
        ),
    ],
    ids=["epsilon-greedy", "ucb", "thompson", "gradient", "optimistic"],
)
def test_bandits_find_the_best_arm(agent):
    """More often than not, over a thousand steps; at random it would be one time in
    ten."""
    _, metrics = trained(agent, 1_000)
    share = np.asarray(metrics["optimal_action"].total) / 1_000
    assert share.mean() - 3 * share.std() / np.sqrt(NUM_SEEDS) > 0.5
    reward = np.asarray(metrics["reward"].total) / 1_000
    assert 1.0 < reward.mean() < 1.6  # the best of ten standard normal numbers is 1.54 on average


# ---------------------------------------------------------------- all of it, wide


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_sixty_four_models_times_sixty_four_seeds(name):
    cls, fields, epsilon = METHODS[name]
    found = np.asarray(errors(cls, *split(fields), epsilon, (2_000, 16_000), 64 * NUM_SEEDS, 1_000))
    by_model = found.reshape(64, NUM_SEEDS, 2).mean(axis=0)
    slow = name == "off-policy monte carlo"
    assert (by_model[:, 1] < (1.0 if slow else 0.3)).all() and np.mean(
        by_model[:, 1] / by_model[:, 0]
    ) < (0.9 if slow else 0.6)


@pytest.mark.slow
def test_optimism_learns_in_sixty_four_models_times_sixty_four_seeds():
    by_model = (
        np.asarray(optimistic(0.02, 100_000, 64 * NUM_SEEDS)[1]).reshape(64, NUM_SEEDS).mean(axis=0)
    )
    assert (by_model < 0.03).all() and by_model.mean() < 0.01


def lacking(model, policies, best, discount):
    """Mean regret of policies from the start, in shares of what a uniformly
    random one lacks."""
    value = functools.partial(mdp.expected_return, model, discount=discount)
    uniform = jnp.full(model.reward.shape[:2], 1 / model.num_actions)
    return (value(best) - np.mean(jax.lax.map(value, policies))) / (value(best) - value(uniform))


# name: discount, then steps: of most methods, and of those that need other numbers of
# them.
TOYS = {
    "FrozenLake-v1": (0.95, 1_000_000, {agents.OffPolicyMonteCarlo: 16_000_000}),
    "CliffWalking-v1": (0.9, 200_000, {}),
    "Blackjack-v1": (1.0, 400_000, {}),
    "Taxi-v3": (
        0.9,
        500_000,
        {
            **dict.fromkeys(
                [agents.NStepSARSA, agents.TreeBackup, agents.SARSALambda, agents.QLambda], 200_000
            ),
            agents.OffPolicyMonteCarlo: 2_000_000,
        },
    ),
}
# Where a method learns from greedy actions only, exploring every second step leaves it
# little.
KEENER = {
    ("FrozenLake-v1", "off-policy monte carlo"): {"epsilon": 0.1},
    ("Taxi-v3", "3-step sarsa of the greedy policy"): {"epsilon": 0.2},
    ("Taxi-v3", "off-policy monte carlo"): {"epsilon": 0.3},
}
# Ends of episodes are all that off-policy Monte Carlo learns from, and a random drive
# of 200 steps seldom reaches any: episodes are cut more often, which moves no limit,
# for a cut one is worth what the state it has reached is.
CUT = {("Taxi-v3", "off-policy monte carlo"): 10}


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("env_name", TOYS)
def test_toy_text_is_solved(env_name, name):
    """The value of the greedy policy from the start, or of the epsilon-greedy one
    among such, is near the best there is."""
    discount, num_steps, others = TOYS[env_name]
    cls, fields, epsilon = METHODS[name]
    env = purerl.make(env_name)
    learning_in = TimeLimit(env.env, CUT[env_name, name]) if (env_name, name) in CUT else env
    faster = {"learning_rate": schedule.power(1.0, 0.6)} if "learning_rate" in fields else {}
    agent = cls(
        env=learning_in,
        **(fields | faster | KEENER.get((env_name, name), {}) | {"discount": discount}),
    )

    def learned(key):
        state, _ = training.segment(agent, agent.init(key), 0, others.get(cls, num_steps))
        return jax.vmap(agent.values, (None, 0))(agent.snapshot(state), jnp.arange(env.num_states))

    # Few at a time: the tables of a method that changes them whole at each step then
    # stay in the cache.
    q = jax.jit(
        lambda keys: jax.lax.map(
            learned, keys, batch_size=4 if env_name == "Taxi-v3" else NUM_SEEDS
        )
    )(KEYS)
    soft = jax.vmap(
        lambda q: epsilon / q.shape[-1] + (1 - epsilon) * jax.nn.one_hot(mdp.greedy(q), q.shape[-1])
    )(q)
    assert (
        lacking(
            env.mdp, soft, mdp.epsilon_soft_optimal(env.mdp, discount, epsilon).policy, discount
        )
        < 0.1
    )


def bounded(model):
    """The same decisions with rewards in ``[0, 1]`` and no end: what ended goes on
    in a state where nothing happens."""
    low, high, end = (
        jnp.minimum(model.reward.min(), 0),
        jnp.maximum(model.reward.max(), 0),
        model.num_states,
    )

    def more(table, value):
        return jnp.concatenate([table, jnp.full((1, *table.shape[1:]), value, table.dtype)])

    return mdp.FiniteMDP(
        probability=more(model.probability, 1 / model.probability.shape[2]),
        next_state=more(jnp.where(model.terminated, end, model.next_state), end),
        reward=more((model.reward - low) / (high - low), -low / (high - low)),
        terminated=more(jnp.zeros_like(model.terminated), False),
        initial=more(model.initial, 0),
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("env_name", "horizon", "confidence", "num_steps"),
    [
        ("FrozenLake-v1", 20, 1e-3, 3_000_000),
        ("CliffWalking-v1", 20, 1e-5, 300_000),
        ("Blackjack-v1", 6, 0.03, 4_000_000),
        ("Taxi-v3", 20, 1e-5, 3_000_000),
    ],
)
def test_optimism_solves_toy_text_within_a_horizon(env_name, horizon, confidence, num_steps):
    model = mdp.time_expanded(bounded(purerl.make(env_name).mdp), horizon)
    env = FiniteEnvironment.of(model)
    agent = agents.UCBQLearning(env=env, horizon=horizon, confidence=confidence, log_term=10.0)
    state, _ = trained(agent, num_steps)
    assert (
        lacking(model, jax.vmap(mdp.greedy)(state.q), mdp.greedy(mdp.optimal_q(model, 1.0)), 1.0)
        < 0.1
    )
