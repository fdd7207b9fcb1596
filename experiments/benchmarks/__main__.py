import argparse
import importlib

from rich.console import Console

from experiments.benchmarks import report

NAMES = ("gymnax_keys", "environments", "q_learning", "control", "dqn", "lanes", "value_iteration")

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m experiments.benchmarks", description="Speed, in ratios to others."
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"one of {', '.join(NAMES)}; all of them if none is named",
    )
    names = parser.parse_args().names or NAMES
    unknown = set(names) - set(NAMES)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(NAMES)}")
    console = Console()
    for name in names:
        report.run(
            name, importlib.import_module(f"experiments.benchmarks.{name}").benchmark, console
        )
