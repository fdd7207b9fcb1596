"""Figure 6.2 and example 6.2: TD(0) and Monte Carlo on a random walk

Five states, initial values of 0.5, no discount. Left: the estimates of one run of TD(0)
with a step size of 0.1 after 0, 1, 10 and 100 episodes, and the true values (dashed).
Right: the root mean square error over the states, averaged over 1,000 runs (the book
has 100).
"""

import numpy as np

import purerl
from experiments.textbook.common import EXACT, band, canvas, save
from purerl.agents import TD, MonteCarloPrediction
from purerl.figures.plotting import COLORS

RUNS, EPISODES = 1_000, 100
STATES = np.arange(1, 6)
TRUE = STATES / 6
METHODS = {"MC": (MonteCarloPrediction, (0.01, 0.02, 0.03, 0.04)), "TD": (TD, (0.15, 0.1, 0.05))}


def figure():
    env = purerl.make("RandomWalk5-v0")
    picture, (left, right) = canvas(2)
    numbers = {}
    errors = {}
    left.plot(STATES, TRUE, label="true values", **EXACT)
    for (name, (cls, alphas)), style in zip(METHODS.items(), ("--", "-"), strict=True):
        extra = {"visit": "every", "count_visits": False} if cls is MonteCarloPrediction else {}

        def make(alpha, cls=cls, extra=extra):
            return cls(env=env, learning_rate=alpha, discount=1.0, initial_value=0.5, **extra)

        values = purerl.over_episodes(
            make,
            np.array(alphas),
            RUNS,
            EPISODES,
            lambda agent, state: {f"{i}": state.weights[i] for i in STATES},
        )
        values = np.stack([values[f"{i}"] for i in STATES], axis=-1)
        values = np.concatenate([np.full_like(values[:, :, :1], 0.5), values], axis=2)
        error = np.sqrt(((values - TRUE) ** 2).mean(axis=-1))
        for i, alpha in enumerate(alphas):
            label = f"{name}, step size {alpha:g}"
            color = COLORS[i + 3 * (name == "MC")]
            x = np.arange(EPISODES + 1)
            numbers[label] = band(right, x, error[i], label, color, linestyle=style)
            errors[name, alpha] = error[i].mean(axis=0)
        if name == "TD":
            for when, color in zip((0, 1, 10, 100), COLORS[3:], strict=False):
                estimates = values[1, 0, when]
                label = f"after {when} episode{'' if when == 1 else 's'}"
                left.plot(STATES, estimates, color=color, marker="o", label=label)
                numbers[f"values after {when}"] = estimates
    left.set(xlabel="state", ylabel="estimated value", xticks=STATES, xticklabels=list("ABCDE"))
    right.set(xlabel="episodes", ylabel="RMS error over the states", ylim=(0, 0.26))
    left.legend()
    right.legend(ncols=2, fontsize="small")
    area = {key: curve.mean() for key, curve in errors.items()}
    first = [float(x) for x in numbers["values after 1"]]
    claims = {
        "TD is consistently better than MC on this task": (
            max(area["TD", a] for a in (0.1, 0.05))
            < min(v for (n, _), v in area.items() if n == "MC")
        ),
        "after the first episode only the value of one state next to an end has changed": (
            sum(abs(v - 0.5) > 1e-6 for v in first) == 1
            and (abs(first[0] - 0.45) < 1e-6 or abs(first[-1] - 0.55) < 1e-6)
        ),
        "with larger step sizes the error falls fast and then rises (exercise 6.5)": (
            errors["TD", 0.15].min() < errors["TD", 0.15][-1] - 0.005
        ),
        "the error starts at sqrt(1/9 + 1/36 + 0 + 1/36 + 1/9) / sqrt(5) = 0.2357": (
            abs(errors["TD", 0.1][0] - 0.2357) < 1e-3
        ),
    }
    return save("figure_6_2", picture, numbers, claims)


if __name__ == "__main__":
    figure()
