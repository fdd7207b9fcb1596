"""Figure 10.1 and example 10.1: the cost-to-go of the mountain car

Semi-gradient Sarsa with 8 tilings of 8 x 8 tiles, a step size of 0.5/8, no exploration
but for optimistic values of 0, no discount: minus the largest action value in each
state, at five moments of one run. (The book draws surfaces, and does not say its step
size.) Last, the optimal cost-to-go by dynamic programming, the values between the
points of a grid interpolated.
"""

import jax
import jax.numpy as jnp
import numpy as np

import purerl
from experiments.textbook.common import canvas, save
from purerl import mdp
from purerl.agents import LinearSARSA
from purerl.envs import MountainCar
from purerl.envs.classic.mountain_car import MountainCarState
from purerl.features import TileCoding

CAR = MountainCar()
TILES = TileCoding(*CAR.observation_bounds, tiles=8, tilings=8)
FASTEST = 98  # steps to the goal from the mean start, at best; checked below
FIRST, EPISODES = 428, (12, 104, 1000, 9000)  # when the book looks
GOAL = 0.5
GRID = 341, 281  # positions and velocities


def sarsa(alpha: float | jax.Array, n: int = 1) -> LinearSARSA:
    """The agent of these figures, with a step size of ``alpha`` / 8."""
    return LinearSARSA(
        env=CAR, features=TILES, n=n, learning_rate=alpha / 8, epsilon=0.0, discount=1.0
    )


def grid() -> tuple[np.ndarray, np.ndarray]:
    """Positions and velocities, float ``[GRID[0]]`` and ``[GRID[1]]``."""
    return np.linspace(-1.2, GOAL, GRID[0]), np.linspace(-0.07, 0.07, GRID[1])


def cost_to_go(agent: LinearSARSA, weights: jax.Array) -> np.ndarray:
    """What an agent expects in each point of the grid, float ``GRID``."""
    states = jnp.stack(jnp.meshgrid(*map(jnp.asarray, grid()), indexing="ij"), axis=-1)

    def cost(state):
        return -jnp.max(agent.q_values(weights, state))

    return np.asarray(jax.jit(jax.vmap(jax.vmap(cost)))(states))


def optimal_cost() -> np.ndarray:
    """The same by dynamic programming."""
    corners = np.meshgrid(*grid(), indexing="ij")
    states = MountainCarState(*(jnp.asarray(x.ravel(), jnp.float32) for x in corners))
    key, actions = purerl.random.key(0), jnp.arange(3, dtype=jnp.int32)
    move = jax.vmap(jax.vmap(CAR.step, (None, None, 0)), (None, 0, None))
    reached, outcome = jax.jit(move)(key, states, actions)
    # Each state reached counts as the four points around it, by their nearness.
    below, share = [], []
    for axis, x in zip(grid(), reached, strict=True):
        place = (np.asarray(x, float) - axis[0]) / (axis[1] - axis[0])
        place = np.clip(place, 0, len(axis) - 1)
        below.append(np.minimum(place.astype(int), len(axis) - 2))
        share.append(np.stack([1 - (place - below[-1]), place - below[-1]], axis=-1))
    probability = share[0][..., :, None] * share[1][..., None, :]
    near = np.arange(2)
    point = (below[0][..., None, None] + near[:, None]) * GRID[1] + below[1][..., None, None] + near
    size = GRID[0] * GRID[1]
    shape = size, 3, 4
    model = mdp.FiniteMDP(
        probability=probability.reshape(shape),
        next_state=point.reshape(shape),
        reward=np.full(shape, -1.0),
        terminated=np.broadcast_to(np.asarray(outcome.terminated)[..., None], shape),
        initial=np.full(size, 1 / size),
    )
    solution = mdp.modified_policy_iteration(model, 1.0)
    return -np.asarray(solution.values).reshape(GRID)


def moments(agent: LinearSARSA, key: jax.Array) -> tuple[list[jax.Array], int]:
    """Weights at the step and after the episodes that the book shows, and the length of
    the first episode."""

    @jax.jit
    def go_on(state, t, ended, steps, episodes):
        """Until so many steps or episodes are over."""

        def unfinished(carry):
            _, t, ended = carry
            return (t < steps) & (ended < episodes)

        def body(carry):
            state, t, ended = carry
            state, metrics = agent.step(state, t)
            return state, t + 1, ended + (metrics["episode_return"].count > 0)

        return jax.lax.while_loop(unfinished, body, (state, t, ended))

    carry = agent.init(key), jnp.int32(0), jnp.int32(0)
    carry = go_on(*carry, FIRST, 1)
    found = [carry[0].weights]
    length = 0
    for episodes in (1, *EPISODES):
        carry = go_on(*carry, 10_000_000, episodes)
        if episodes == 1:
            length = int(carry[1])
        else:
            found.append(carry[0].weights)
    return found, length


def figure():
    agent = sarsa(0.5)
    weights, length = moments(agent, purerl.random.key(0, "pcg4d"))
    titles = [f"step {FIRST}", *(f"episode {episode}" for episode in EPISODES)]
    costs = dict(zip(titles, (cost_to_go(agent, w) for w in weights), strict=True))
    costs["dynamic programming"] = optimal = optimal_cost()
    picture, axes = canvas(3, 2, width=4.4, height=3.4)
    positions, velocities = grid()
    for one, (title, cost) in zip(axes, costs.items(), strict=True):
        image = one.imshow(
            cost.T,
            origin="lower",
            aspect="auto",
            extent=(positions[0], positions[-1], velocities[0], velocities[-1]),
            cmap="viridis",
        )
        picture.colorbar(image, ax=one)
        one.grid(False)
        one.set_title(title)
    for one in axes[3:]:
        one.set_xlabel("position")
    for one in axes[::3]:
        one.set_ylabel("velocity")
    starts, rest = (positions >= -0.6) & (positions < -0.4), GRID[1] // 2
    first, last = costs[titles[0]], costs[titles[-1]]
    from_start = {title: float(cost[starts, rest].mean()) for title, cost in costs.items()}
    off = np.abs(last - optimal)[starts, rest].mean() / optimal[starts, rest].mean()
    claims = {
        f"not even one episode is completed by step {FIRST}": length > FIRST,
        "by then the states visited are valued worse than those that were not, which count as 0": (
            first[starts, rest].min() > 5 and first[-1].max() < 1
        ),
        f"from the mean start the goal is {FASTEST} steps away at best, by dynamic programming": (
            abs(from_start["dynamic programming"] - FASTEST) < 1
        ),
        "after 9000 episodes the cost from the start is within a fifth of that": off < 0.2,
    }
    numbers = {
        "from the start": from_start,
        "largest": {title: float(cost.max()) for title, cost in costs.items()},
        "first episode": length,
        "off": off,
    }
    return save("figure_10_1", picture, numbers, claims)


if __name__ == "__main__":
    figure()
