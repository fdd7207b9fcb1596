"""Statistics over seeds, pictures, and films of episodes."""

from purerl.figures import film, plotting, statistics

__all__ = ["film", "plotting", "statistics"]
