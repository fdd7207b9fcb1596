"""Figure 8.5 and example 8.3: the shortcut maze

After 3,000 steps a shorter way, of 10 steps, is opened in addition to the old one of
16, which stays open. Reward collected by Dyna-Q and Dyna-Q+ with 50 planning steps,
step size 0.5, epsilon 0.1, a discount of 0.95 and, for Dyna-Q+, kappa = 0.001; 100
runs.
"""

import purerl
from experiments.textbook.common import save
from experiments.textbook.figure_8_4 import cumulative_reward, draw

RUNS, STEPS, CHANGE, EVERY = 100, 6_000, 3_000, 20


def figure():
    env = purerl.make("ShortcutMaze-v0", change=CHANGE)
    reward = cumulative_reward(env, 50, RUNS, STEPS, EVERY, lanes=50)
    picture, numbers = draw(reward, STEPS, EVERY, CHANGE, " a shorter way opens")
    at_change = CHANGE // EVERY
    rate = {}  # goals in the last 1,000 steps before the change, and in the last of all
    for name, samples in reward.items():
        mean = samples.mean(axis=0)
        rate[name] = mean[at_change] - mean[at_change - 50], mean[-1] - mean[-51]
    numbers["goals in 1,000 steps, before and after"] = rate
    claims = {
        "Dyna-Q does not switch to the shortcut": rate["Dyna-Q"][1] < 1.15 * rate["Dyna-Q"][0],
        "Dyna-Q+ finds it": rate["Dyna-Q+"][1] > 1.2 * rate["Dyna-Q+"][0],
        "Dyna-Q+ earns more than Dyna-Q at the end": rate["Dyna-Q+"][1] > rate["Dyna-Q"][1],
    }
    return save("figure_8_5", picture, numbers, claims)


if __name__ == "__main__":
    figure()
