"""Draw all figures, or those named: ``python -m experiments.textbook [NAME...]``.

With ``--gallery``, also write the page that shows them.
"""

import argparse
import importlib
import json
import os
import shutil
import time
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from experiments.textbook.common import OUT, write_record

HERE = Path(__file__).parent
PICTURES = HERE.parents[1] / ".github" / "textbook"
INTRODUCTION = """# The textbook, reproduced

Figures and examples of Sutton & Barto, *Reinforcement Learning: An Introduction* (2nd edition,
2018). Each is drawn by a script of this folder that uses the library's own agents and
environments, with 95% intervals and, where it is known, the exact answer (dashed).

`make textbook` draws them all into `results/textbook/`, pictures beside their numbers as JSON, and
reports which of the book's claims agree with the numbers.
`.venv/bin/python -m experiments.textbook.figure_6_2` draws one. This page is written by
`.venv/bin/python -m experiments.textbook --gallery`.
"""


def _number(name):
    return [int(part) for part in name.split("_")[1:]], name


NAMES = sorted((path.stem for path in HERE.glob("*_[0-9]*.py")), key=_number)


def page(records: Mapping[str, Mapping[str, Any]]) -> str:
    """The gallery in Markdown: the question, picture and results of each script.

    Args:
        records: by name, as :func:`~experiments.textbook.common.save` returns them,
            with ``seconds``.
    """
    lines = [INTRODUCTION]
    for name, record in records.items():
        script = importlib.import_module(f"experiments.textbook.{name}")
        title, _, text = (script.__doc__ or name).partition("\n")
        lines += [f"## {title}", "", text.strip(), ""]
        lines += [f"![{name}](../../.github/textbook/{name}.png)", ""]
        for claim, holds in record["claims"].items():
            lines.append(f"- {'yes' if holds else '**NO**'}: {claim}")
        lines += ["", f"`{name}.py`, {record['seconds']:.0f} s on {os.cpu_count()} cores.", ""]
    return "\n".join(lines)


def draw(names: Iterable[str]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Draw figures; returns their records, and the names of those that failed."""
    records = {}
    failed = []
    for name in names:
        start = time.perf_counter()
        try:
            records[name] = importlib.import_module(f"experiments.textbook.{name}").figure()
        except Exception:  # a figure that fails does not stop the others
            traceback.print_exc()
            failed.append(name)
        else:
            records[name]["seconds"] = time.perf_counter() - start
            write_record(name, records[name])
    return records, failed


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m experiments.textbook", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"one of {', '.join(NAMES)}; by default all"
    )
    parser.add_argument(
        "--gallery",
        action="store_true",
        help="write experiments/textbook/README.md from all figures drawn so far",
    )
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(NAMES)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(NAMES)}")
    began = time.perf_counter()
    records, failed = draw(arguments.names or NAMES)
    table = Table("figure", "the book's claims", "seconds")
    for name, record in records.items():
        holds = list(record["claims"].values())
        table.add_row(name, f"{sum(holds)} of {len(holds)} agree", f"{record['seconds']:.0f}")
    Console().print(table)
    print(f"{time.perf_counter() - began:.0f} s in all; pictures and numbers in {OUT}")
    if arguments.gallery:
        known = [name for name in NAMES if (OUT / f"{name}.json").exists()]
        PICTURES.mkdir(parents=True, exist_ok=True)
        for name in known:
            shutil.copy(OUT / f"{name}.png", PICTURES)
        text = page({name: json.loads((OUT / f"{name}.json").read_text()) for name in known})
        (HERE / "README.md").write_text(text)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
