"""All figures, or those named: ``python -m experiments.textbook [NAME...]``; with ``--gallery`` the page of them too."""

import argparse
import importlib
import json
import os
import shutil
import time
import traceback
from pathlib import Path

from rich.console import Console
from rich.table import Table

from experiments.textbook.common import OUT, write_record

HERE = Path(__file__).parent
PICTURES = HERE.parents[1] / ".github" / "textbook"
INTRODUCTION = """# The textbook, reproduced

Figures and examples of Sutton & Barto, *Reinforcement Learning: An Introduction* (2nd edition, 2018), each by a script of this
folder that uses the library's own agents and environments, with 95% intervals and, where it is known, the exact answer
(dashed). `make textbook` draws them all into `results/textbook/`, pictures beside their numbers as JSON, and says which of the
book's claims the numbers bear out; `.venv/bin/python -m experiments.textbook.figure_6_2` draws one. This page is written by
`.venv/bin/python -m experiments.textbook --gallery`.
"""


def _number(name):
    return [int(part) for part in name.split("_")[1:]], name


NAMES = sorted((path.stem for path in HERE.glob("*_[0-9]*.py")), key=_number)


def _page(records):
    """The gallery in Markdown: of each script what it asks, its picture, and what came out."""
    lines = [INTRODUCTION]
    for name, record in records.items():
        title, _, text = importlib.import_module(f"experiments.textbook.{name}").__doc__.partition(
            "\n"
        )
        marks = [
            f"- {'yes' if holds else '**NO**'}: {claim}"
            for claim, holds in record["claims"].items()
        ]
        lines += [
            f"## {title}",
            "",
            text.strip(),
            "",
            f"![{name}](../../.github/textbook/{name}.png)",
            "",
            *marks,
            "",
        ]
        lines += [f"`{name}.py`, {record['seconds']:.0f} s on {os.cpu_count()} cores.", ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m experiments.textbook", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"one of {', '.join(NAMES)}; all of them if none is named",
    )
    parser.add_argument(
        "--gallery",
        action="store_true",
        help="write experiments/textbook/README.md of what has been drawn",
    )
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(NAMES)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(NAMES)}")
    records, failed, began = {}, [], time.perf_counter()
    for name in arguments.names or NAMES:
        start = time.perf_counter()
        try:
            records[name] = importlib.import_module(f"experiments.textbook.{name}").figure()
        except Exception:  # one figure that fails does not keep the others from being drawn
            traceback.print_exc()
            failed.append(name)
        else:
            records[name]["seconds"] = time.perf_counter() - start
            write_record(name, records[name])
    table = Table("figure", "the book's claims", "seconds")
    for name, record in records.items():
        holds = list(record["claims"].values())
        table.add_row(name, f"{sum(holds)} of {len(holds)} borne out", f"{record['seconds']:.0f}")
    Console().print(table)
    print(f"{time.perf_counter() - began:.0f} s in all; pictures and numbers in {OUT}")
    if arguments.gallery:
        known = [name for name in NAMES if (OUT / f"{name}.json").exists()]
        PICTURES.mkdir(parents=True, exist_ok=True)
        for name in known:
            shutil.copy(OUT / f"{name}.png", PICTURES)
        (HERE / "README.md").write_text(
            _page({name: json.loads((OUT / f"{name}.json").read_text()) for name in known})
        )
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
