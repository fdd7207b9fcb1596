"""Example 6.5: the windy gridworld

Sarsa with epsilon = 0.1 and a step size of 0.5, no discount: episodes finished against
time, 100 runs (the book shows one). The slope of the dashed line is the exact one of
the best epsilon-greedy policy. After 8,000 steps Sarsa has not reached it: episodes
take about 25 steps, and after 100,000 steps about 19, since its step size does not
decay.
"""

import jax.numpy as jnp
import numpy as np

import purerl
from experiments.textbook.common import EXACT, canvas, save, steps
from purerl import SARSA, mdp
from purerl.figures.plotting import COLORS
from purerl.figures.statistics import normal_band

RUNS, STEPS, EVERY = 100, 8_000, 20


def figure():
    env = purerl.make("WindyGrid-v0")
    agent = SARSA(env=env, epsilon=0.1, learning_rate=0.5, discount=1.0)

    def run(key):
        ended = steps(agent, key, STEPS)["episode_return"].count
        return jnp.cumsum(ended)[::EVERY]

    finished = purerl.over_seeds(run, RUNS)
    best = mdp.epsilon_soft_optimal(env.mdp, 1.0, 0.1).policy
    steps_of_best = -float(mdp.expected_return(env.mdp, best, 1.0))
    shortest = -float(mdp.expected_return(env.mdp, mdp.greedy(mdp.optimal_q(env.mdp, 1.0)), 1.0))
    picture, (axes,) = canvas(width=7.5)
    time = np.arange(0, STEPS, EVERY)
    estimate = normal_band(finished)
    axes.plot(time, finished[:20].T, color="0.8", linewidth=0.7)
    label = "Sarsa, mean of 100 runs (20 of them gray)"
    axes.plot(time, estimate.point, color=COLORS[0], label=label)
    line = estimate.point[-1] + (time - time[-1]) / steps_of_best
    label = f"slope of the best epsilon-greedy policy: {steps_of_best:.1f} steps an episode"
    axes.plot(time[line > 0], line[line > 0], label=label, **EXACT)
    axes.set(xlabel="time steps", ylabel="episodes", xlim=(0, STEPS), ylim=(0, None))
    axes.legend()
    late = (time[-1] - time[-101]) / (finished[:, -1] - finished[:, -101]).mean()
    claims = {
        "the shortest way takes 15 steps": round(shortest, 3) == 15,
        "the best epsilon-greedy policy takes about 17, two more": abs(steps_of_best - 17) < 0.1,
        "about 170 episodes are finished in 8,000 steps": (
            finished[:, -1].min() < 170 < finished[:, -1].max()
        ),
        "by then Sarsa's episodes take about 17 steps": 16 < late < 18,
        "the slope increases: the goal is reached ever more quickly": (
            estimate.point[200] < 0.45 * estimate.point[-1]
        ),
    }
    numbers = {
        "time": time,
        "episodes": estimate,
        "steps, late": late,
        "steps, exact": steps_of_best,
        "shortest": shortest,
    }
    return save("example_6_5", picture, numbers, claims)


if __name__ == "__main__":
    figure()
