"""Tables as plain text, HTML and LaTeX.

A column is its header and its cells, texts whose lines are separated by newlines. The
keys name the rows, further columns say what they are about, and the others hold their
numbers.
"""

import html
import io
import re
import shutil
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from purerl.figures.labels import wrapped

Column = tuple[str, list[str]]  # header and cells

_FALLBACK_WIDTH = 100  # characters, where there is no terminal
_LEAST_WRAPPED = 24  # characters to which a column is wrapped at most
_FRAME = 3  # characters of a column's border and spaces
_LATEX: dict[str, str] = {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    **{letter: f"\\{letter}" for letter in "#$%&_{}"},
}


def text_table(
    title: str,
    keys: Sequence[Column],
    about: Sequence[Column],
    others: Sequence[Column],
    notes: Sequence[str] = (),
    width: int | None = None,
) -> str:
    """A table for a terminal.

    Columns that do not fit side by side follow in further tables, each with the keys
    again.

    Args:
        title: above the table.
        keys: narrow columns, in every table.
        about: further columns of the first table, wrapped where room is lacking.
        others: the other columns.
        notes: below the table, a line each.
        width: in characters; by default that of the terminal, or 100.
    """
    width = shutil.get_terminal_size((_FALLBACK_WIDTH, 24)).columns if width is None else width
    text = io.StringIO()
    # Plain everywhere: in a notebook rich would not write to the file.
    console = Console(
        file=text,
        width=width,
        markup=False,
        emoji=False,
        highlight=False,
        force_jupyter=False,
        force_terminal=False,
        color_system=None,
    )
    heading: str | None = title
    for columns in _groups(keys, about, others, width):
        table = Table(title=heading)
        for (header, _), wide in columns:
            table.add_column(header, overflow="fold", width=wide)
        texts = ([wrapped(cell, wide) for cell in cells] for (_, cells), wide in columns)
        for row in zip(*texts, strict=True):
            table.add_row(*row)
        console.print(table)
        heading = None
    for note in notes:
        console.print(note)
    return text.getvalue()


def _width(column):
    header, cells = column
    return max(len(line) for cell in (header, *cells) for line in cell.split("\n"))


def _groups(keys, about, others, width):
    """For each table its columns with their widths."""
    named = [(column, _width(column)) for column in keys]
    least = [(column, min(_width(column), _LEAST_WRAPPED)) for column in about]
    tables = [[*named, *least]]
    for column in others:
        room = width - _total(named) - _FRAME
        wide = min(_width(column), max(room, 1))
        if _total(tables[-1]) + wide + _FRAME > width:
            tables.append([*named])
        tables[-1].append((column, wide))
    if about:  # the widest of them takes what room there is, or gives what is lacking
        place = len(keys) + max(range(len(about)), key=lambda i: _width(about[i]))
        column, wide = tables[0][place]
        spare = width - _total(tables[0])
        tables[0][place] = column, max(min(_width(column), wide + spare), 1)
    return [columns for columns in tables if columns]


def _total(columns):
    return sum(wide + _FRAME for _, wide in columns) + 1


def html_table(title: str, columns: Sequence[Column], notes: Sequence[str] = ()) -> str:
    """A table for a page or a notebook.

    Args:
        title: above the table.
        columns: all of them.
        notes: below the table, a line each.
    """
    lines = ["<table>", f"<caption>{html.escape(title)}</caption>"]
    lines.append("<tr>" + "".join(f"<th>{html.escape(head)}</th>" for head, _ in columns) + "</tr>")
    for row in zip(*(cells for _, cells in columns), strict=True):
        cells = [html.escape(cell).replace("\n", "<br>") for cell in row]
        lines.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    lines.append("</table>")
    lines += [f"<p><small>{html.escape(note)}</small></p>" for note in notes]
    return "\n".join(lines)


def latex_table(
    first: Sequence[Column], others: Sequence[Column], notes: Sequence[str] = ()
) -> str:
    r"""A ``tabular`` for the package ``booktabs``.

    Args:
        first: the first columns, set as text.
        others: the other columns; the first line of a cell is set as mathematics.
        notes: comments behind the table.

    >>> cell = "0.5 [-0.1, 2e-01]\n1 at inf"
    >>> print(latex_table([("#", ["0"])], [("q_error", [cell])]))
    \begin{tabular}{lr}
    \toprule
    \# & q\_error \\
    \midrule
    0 & $0.5\ [-0.1, 2 \cdot 10^{-1}]$, 1 at inf \\
    \bottomrule
    \end{tabular}
    <BLANKLINE>
    """
    heads = " & ".join(_escaped(header) for header, _ in [*first, *others])
    lines = [rf"\begin{{tabular}}{{{'l' * len(first)}{'r' * len(others)}}}", r"\toprule"]
    lines += [rf"{heads} \\", r"\midrule"]
    texts = [[_escaped(cell) for cell in cells] for _, cells in first]
    numbers = [[_mathematics(cell) for cell in cells] for _, cells in others]
    lines += [" & ".join(row) + r" \\" for row in zip(*texts, *numbers, strict=True)]
    lines += [r"\bottomrule", r"\end{tabular}", *(f"% {note}" for note in notes)]
    return "\n".join(lines) + "\n"


def _escaped(text):
    return "".join(_LATEX.get(letter) or letter for letter in text)


def _mathematics(cell):
    """A cell whose first line is numbers, and perhaps something in parentheses."""
    interval, *notes = cell.split("\n")
    numbers, _, behind = interval.partition(" (")
    numbers = re.sub(r"e([+-]\d+)", lambda m: rf" \cdot 10^{{{int(m[1])}}}", numbers)
    numbers = numbers.replace("inf", r"\infty").replace("nan", r"\mathrm{nan}")
    numbers = numbers.replace(" [", r"\ [")
    shown = "--" if numbers == "-" else f"${numbers}$"
    shown += f" ({_escaped(behind)}" if behind else ""
    return ", ".join([shown, *map(_escaped, notes)])
