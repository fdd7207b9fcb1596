"""Measure speed: ``python -m experiments.benchmarks [NAME...]``, by default all."""

import argparse
import importlib

from rich.console import Console

from experiments.benchmarks import report

NAMES = (
    "gymnax_keys",
    "environments",
    "scans",
    "q_learning",
    "control",
    "dqn",
    "deep",
    "peers",
    "lanes",
    "value_iteration",
)

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m experiments.benchmarks", description="Speed, as ratios to others."
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"one of {', '.join(NAMES)}; by default all"
    )
    names = parser.parse_args().names or NAMES
    unknown = set(names) - set(NAMES)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(NAMES)}")
    console = Console()
    for name in names:
        module = importlib.import_module(f"experiments.benchmarks.{name}")
        report.run(name, module.benchmark, console)
