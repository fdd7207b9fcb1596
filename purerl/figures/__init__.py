"""Statistics over seeds, pictures, and films of episodes."""

from purerl.figures import curves, film, gridmap, plotting, radar, statistics

__all__ = ["curves", "film", "gridmap", "plotting", "radar", "statistics"]
