"""Baird's counterexample: off-policy learning that diverges."""

import jax
import jax.numpy as jnp
import numpy as np

from purerl.envs import drawing
from purerl.envs.diagnostic.chain import Featured
from purerl.mdp.construct import from_dense


class BairdStar(Featured):
    """The model of :func:`baird_star`, with the two policies of the example.

    Attributes:
        behavior: ``b(a | s)``, float32 ``[7, 2]``: dashed six times in seven, so that
            the next state is uniformly distributed.
        target: ``pi(a | s)``, float32 ``[7, 2]``: always solid.
    """

    behavior: jax.Array
    target: jax.Array

    def render(self, state):
        """Six states above, the seventh below them; the present one is blue."""
        heights = (1.0, 1.25, 1.35, 1.35, 1.25, 1.0)
        places = [(i - 2.5, height) for i, height in enumerate(heights)]
        places.append((0.0, -1.2))
        shapes = [drawing.line(place, places[6], 0.05, drawing.GRAY) for place in places[:6]]
        for i, (x, y) in enumerate(places):
            inside = drawing.BLUE if i == int(state) else drawing.PALE
            shapes += [drawing.disc(x, y, 0.38, drawing.BLACK), drawing.disc(x, y, 0.33, inside)]
        return drawing.draw(shapes, -3.1, 3.1, -1.8, 2.0, width=248)


def baird_star() -> BairdStar:
    r"""Baird's counterexample.

    Baird, "Residual algorithms" (ICML 1995), as in Sutton & Barto, *Reinforcement
    Learning: An Introduction*, 2nd edition, Figure 11.1.

    - Observation: the features of the state, float32 ``[8]``: :math:`2 e_i + e_8` in
      the upper states :math:`i = 1, \dots, 6`, and :math:`e_7 + 2 e_8` in the lower
      one.
    - Actions: 0 (dashed) leads to one of the six upper states, equally likely; 1
      (solid) to the lower one.
    - Reward: 0, so all values are 0, which the features can represent.
    - Start: any of the seven states, equally likely.
    - Termination: never.

    Under the target policy and a discount of 0.99, semi-gradient TD(0) diverges from
    the weights ``(1, 1, 1, 1, 1, 1, 10, 1)`` for any step size. So does dynamic
    programming with its expected updates, which weights all states equally.

    Returns:
        An environment whose ``mdp`` has ``S = 7``, ``A = 2``, ``K = 6``; states 0 to 5
        are the upper ones.
    """
    upper = np.arange(7) < 6
    mdp = from_dense(
        transition=np.broadcast_to(np.stack([upper / 6, ~upper]), (7, 2, 7)),
        reward=np.zeros((7, 2)),
        initial=np.full(7, 1 / 7),
    )
    own = np.eye(7, 8) * np.where(upper, 2, 1)[:, None]
    shared = np.eye(8)[7] * np.where(upper, 1, 2)[:, None]
    return BairdStar.of(
        mdp,
        features=jnp.asarray(own + shared, jnp.float32),
        behavior=jnp.tile(jnp.float32([6 / 7, 1 / 7]), (7, 1)),
        target=jnp.tile(jnp.float32([0, 1]), (7, 1)),
    )
