"""FrozenLake: across slippery ice to a goal, past holes."""

from collections.abc import Sequence

import jax
import numpy as np

from purerl.checks import FINITE, check_values, refusal, shown
from purerl.envs.grids.gridworld import GridWorld, gridworld

FROZEN_LAKES = {
    "4x4": ("SFFF", "FHFH", "FFFH", "HFFG"),
    "8x8": (
        "SFFFFFFF",
        "FFFFFFFF",
        "FFFHFFFF",
        "FFFFFHFF",
        "FFFHFFFF",
        "FHHFFFHF",
        "FHFFHFHF",
        "FFFHFFFG",
    ),
}


def frozen_lake(
    rows: str | Sequence[str] = "4x4",
    *,
    slip: float | jax.Array = 2 / 3,
    reward_schedule: Sequence[float] = (1.0, 0.0, 0.0),
) -> GridWorld:
    """FrozenLake as Gymnasium defines it (``FrozenLake-v1``).

    - Observation: the cell, ``row * width + column``, int32 ``[]``.
    - Actions: 0 left, 1 down, 2 right, 3 up; on ice the agent may slip to either side.
    - Reward: that of the cell moved onto, by default 1 on the goal and 0 elsewhere.
    - Start: the cell ``S``; several are equally likely.
    - Termination: on the goal ``G`` and in a hole ``H``.

    Args:
        rows: ``"4x4"``, ``"8x8"`` or a map.
        slip: probability of slipping: 2/3 is Gymnasium's ``is_slippery=True``, with
            three equally likely directions; 0 its ``is_slippery=False``;
            ``1 - success_rate`` in general.
        reward_schedule: rewards of reaching the goal, a hole, and ice.

    Raises:
        ValueError: as :func:`~purerl.envs.grids.gridworld.gridworld`, an unknown map
            name, or a schedule that is not three finite numbers.

    Example:
        >>> print(frozen_lake().ascii(14))
        SFFF
        FHFH
        FFFH
        HF@G
    """
    if isinstance(rows, str) and rows not in FROZEN_LAKES:
        allowed = f"{', '.join(map(repr, FROZEN_LAKES))} or a sequence of strings"
        raise refusal("frozen_lake", "rows", repr(rows), allowed)
    three = isinstance(reward_schedule, (tuple, list, np.ndarray)) and len(reward_schedule) == 3
    if not three:
        allowed = "three finite numbers (goal, hole, ice)"
        raise refusal("frozen_lake", "reward_schedule", shown(reward_schedule), allowed)
    numbers = {f"reward_schedule[{i}]": number for i, number in enumerate(reward_schedule)}
    check_values("frozen_lake", numbers, dict.fromkeys(numbers, FINITE))
    goal, hole, ice = reward_schedule
    return gridworld(
        FROZEN_LAKES[rows] if isinstance(rows, str) else rows,
        directions=("left", "down", "right", "up"),
        slip=slip,
        step_reward=ice,
        goal_reward=goal,
        hazard_reward=hole,
    )
