"""A run as one self-contained page of HTML.

Curves are SVG, with a small script that shows their numbers under the pointer. The page
loads nothing, and forbids itself to (``Content-Security-Policy``): pictures are part of
it.
"""

import base64
import html
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from purerl.figures.labels import short
from purerl.figures.plotting import COLORS, GRAY, INK, PALE, default_styles

_KINDS = {".png": "image/png", ".gif": "image/gif"}
# Size and margins of a chart in pixels.
_WIDTH, _HEIGHT = 760, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 10, 42
_SVG_DASHES = ("none", "7 4", "2 3", "7 3 2 3")  # as DASHES


class Chart(NamedTuple):
    """Learning curves to be shown.

    Attributes:
        name: of the measure.
        note: what line and band are.
        steps: ``[points]``.
        xlabel: what the steps are.
        bands: by label, point, low and high ``[3, points]``; NaN where there is none.
        log: the axes that are logarithmic.
        reference: a value and its label, drawn as a dashed line.
        styles: for each curve the numbers of its color and of its line style.
    """

    name: str
    note: str
    steps: np.ndarray
    bands: Mapping[str, np.ndarray]
    xlabel: str = "environment steps"
    log: str = ""
    reference: tuple[float, str] | None = None
    styles: Sequence[tuple[int, int]] | None = None


def page(
    title: str,
    table: str,
    charts: Sequence[Chart],
    pictures: Sequence[Path] = (),
    facts: Mapping[str, str] | None = None,
    details: Mapping[str, str] | None = None,
    warnings: Sequence[str] = (),
) -> str:
    """The text of a page.

    Args:
        title: of the run.
        table: in HTML, as :func:`~purerl.figures.tables.html_table` makes it; all other
            texts are plain and are escaped here.
        charts: in their order.
        pictures: files that end in ``.png`` or ``.gif``.
        facts: provenance, by name.
        details: longer texts, by name, folded up.
        warnings: what went wrong, a line each.

    Raises:
        OSError: a picture cannot be read.
    """
    parts = [f"<h1>{html.escape(title)}</h1>", table]
    parts += [f'<p class="warning">{html.escape(text)}</p>' for text in warnings]
    parts += [_figure(chart) for chart in charts]
    for picture in pictures:
        data = base64.b64encode(picture.read_bytes()).decode()
        source = f"data:{_KINDS[picture.suffix.lower()]};base64,{data}"
        name = html.escape(picture.name)
        parts.append(f'<h2>{name}</h2><img src="{source}" alt="{name}">')
    if facts:
        rows = (
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>"
            for name, text in facts.items()
        )
        parts.append(f"<h2>Provenance</h2><table>{''.join(rows)}</table>")
    for name, text in (details or {}).items():
        summary = f"<summary>{html.escape(name)}</summary>"
        parts.append(f"<details>{summary}<pre>{html.escape(text)}</pre></details>")
    head = f'<meta charset="utf-8">{_POLICY}<title>{html.escape(title)}</title>{_STYLE}'
    body = "\n".join(parts)
    return f"<!DOCTYPE html>\n<html><head>{head}</head>\n<body>\n{body}\n{_SCRIPT}</body></html>\n"


class _Axis:
    """A linear or logarithmic scale from numbers to pixels."""

    def __init__(self, values, log, start, end, margin=0.03):
        values = values[np.isfinite(values)]
        if log:
            values = values[values > 0]
        low, high = (values.min(), values.max()) if values.size else (0.0, 1.0)
        self.log = bool(log) and low > 0
        if self.log:
            factor = (high / low) ** margin if high > low else 2
            low, high = low / factor, high * factor
        else:
            more = (high - low) * margin if high > low else 0.5
            low, high = low - more, high + more
        self.low, self.high, self.start, self.end = float(low), float(high), start, end

    def __call__(self, value):
        """Pixels, NaN where there are none."""
        with np.errstate(invalid="ignore", divide="ignore"):
            low, high, value = (
                np.log10(x) if self.log else np.asarray(x, np.float64)
                for x in (self.low, self.high, value)
            )
            pixels = self.start + (value - low) / (high - low) * (self.end - self.start)
        return np.where(np.isfinite(pixels), pixels, np.nan)

    def ticks(self):
        if self.log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            factors = (1, 2, 5) if len(decades) <= 4 else (1,)
            ticks = [factor * 10.0**decade for decade in decades for factor in factors]
        else:
            rough = (self.high - self.low) / 6
            power = 10 ** math.floor(math.log10(rough))
            unit = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
            first = math.ceil(self.low / unit)
            ticks = [i * unit for i in range(first, math.floor(self.high / unit) + 1)]
        return [tick for tick in ticks if self.low <= tick <= self.high]


def _figure(chart):
    """A chart as SVG, its legend, and its numbers for the script."""
    values = np.concatenate([band.ravel() for band in chart.bands.values()])
    if chart.reference is not None:
        values = np.append(values, chart.reference[0])
    across = _Axis(chart.steps, "x" in chart.log, _LEFT, _WIDTH - _RIGHT)
    up = _Axis(values, "y" in chart.log, _HEIGHT - _BOTTOM, _TOP)
    styles = chart.styles or default_styles(len(chart.bands))
    looks = [(COLORS[color], _SVG_DASHES[dash]) for color, dash in styles]
    parts = _frame(across, up, chart.xlabel)
    if chart.reference is not None:
        height = float(up(chart.reference[0]))
        parts.append(_line(_LEFT, height, _WIDTH - _RIGHT, height, GRAY, ' stroke-dasharray="5 3"'))
    x = across(chart.steps)
    for band, (color, _) in zip(chart.bands.values(), looks, strict=True):
        parts.append(f'<path class="band" d="{_area(x, up(band))}" fill="{color}"/>')
    for band, (color, dash) in zip(chart.bands.values(), looks, strict=True):
        drawn = _path(x, up(band[0]))
        parts.append(
            f'<path class="curve" d="{drawn}" stroke="{color}" stroke-dasharray="{dash}"/>'
        )
    parts.append('<g class="pointer"></g>')
    keys = [
        f'<span><svg width="26" height="8"><path d="M0 4H26" class="curve" stroke="{color}" '
        f'stroke-dasharray="{dash}"/></svg> {html.escape(label)}</span>'
        for label, (color, dash) in zip(chart.bands, looks, strict=True)
    ]
    if chart.reference is not None:
        keys.append(f"<span>dashed gray: {html.escape(chart.reference[1])}</span>")
    numbers = {
        "steps": [short(step) for step in chart.steps.tolist()],
        "x": _rounded(x),
        "top": _TOP,
        "bottom": _HEIGHT - _BOTTOM,
        "curves": [
            {
                "label": label,
                "color": color,
                "y": _rounded(up(band[0])),
                "text": [_text(*at) for at in band.T.tolist()],
            }
            for (label, band), (color, _) in zip(chart.bands.items(), looks, strict=True)
        ],
    }
    data = json.dumps(numbers, allow_nan=False).replace("<", "\\u003c")
    name = html.escape(chart.name)
    return (
        f"<h2>{name}</h2><p><small>{html.escape(chart.note)}</small></p>"
        f'<figure class="chart"><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{name}">{"".join(parts)}</svg><div class="tip" hidden></div>'
        f"<figcaption>{''.join(keys)}</figcaption>"
        f'<script type="application/json">{data}</script></figure>'
    )


def _frame(across, up, xlabel):
    """Grid, ticks and the label of the horizontal axis."""
    parts = []
    for tick in across.ticks():
        x = float(across(tick))
        parts.append(_line(x, _TOP, x, _HEIGHT - _BOTTOM, PALE))
        parts.append(_label(x, _HEIGHT - _BOTTOM + 16, short(tick), "middle"))
    for tick in up.ticks():
        y = float(up(tick))
        parts.append(_line(_LEFT, y, _WIDTH - _RIGHT, y, PALE))
        parts.append(_label(_LEFT - 6, y + 4, short(tick), "end"))
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(_label(middle, _HEIGHT - 6, xlabel, "middle"))
    return parts


def _line(x, y, to_x, to_y, color, more=""):
    return f'<path d="M{x:.1f} {y:.1f}L{to_x:.1f} {to_y:.1f}" stroke="{color}"{more}/>'


def _label(x, y, text, anchor):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(text)}</text>'


def _runs(known):
    """Stretches of True, as slices."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]]).astype(int)))
    return [slice(start, end) for start, end in edges.reshape(-1, 2)]


def _path(x, y):
    """A line through the points that are there; a lone one is a dot of it."""
    parts = []
    for run in _runs(~np.isnan(x) & ~np.isnan(y)):
        points = [f"{a:.1f} {b:.1f}" for a, b in zip(x[run], y[run], strict=True)]
        parts.append("M" + "L".join(points) + ("h0.1" if len(points) == 1 else ""))
    return "".join(parts)


def _area(x, band):
    """The area between the ends of intervals."""
    _, low, high = band
    parts = []
    for run in _runs(~np.isnan(x) & ~np.isnan(low) & ~np.isnan(high)):
        forth = [f"{a:.1f} {b:.1f}" for a, b in zip(x[run], low[run], strict=True)]
        back = [f"{a:.1f} {b:.1f}" for a, b in zip(x[run], high[run], strict=True)]
        parts.append("M" + "L".join([*forth, *back[::-1]]) + "Z")
    return "".join(parts)


def _rounded(pixels):
    return [None if math.isnan(pixel) else round(pixel, 1) for pixel in pixels.tolist()]


def _text(point, low, high):
    if math.isnan(point):
        return ""
    return f"{point:.4g}" if math.isnan(low) else f"{point:.4g} [{low:.4g}, {high:.4g}]"


_POLICY = (
    '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
    "img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">"
)
_STYLE = f"""<style>
body {{ font: 15px/1.45 system-ui, sans-serif; color: {INK}; max-width: 70rem; margin: 2rem auto;
  padding: 0 1rem; }}
h1 {{ font-size: 1.5rem; }} h2 {{ font-size: 1.1rem; margin: 2rem 0 0; }} p {{ margin: 0.2rem 0; }}
table {{ border-collapse: collapse; display: block; overflow: auto; max-height: 34rem; }}
caption {{ text-align: left; color: {GRAY}; }}
th, td {{ text-align: left; vertical-align: top; padding: 0.25rem 0.9rem 0.25rem 0;
  border-bottom: 1px solid {PALE}; white-space: nowrap; font-variant-numeric: tabular-nums; }}
figure {{ margin: 0; position: relative; }} img, .chart > svg {{ max-width: 100%; height: auto; }}
.chart > svg {{ width: 100%; touch-action: pan-y; }} svg text {{ font-size: 12px; fill: {INK}; }}
.curve {{ fill: none; stroke-width: 1.8; stroke-linecap: round; }} .band {{ opacity: 0.18; }}
figcaption {{ max-height: 10rem; overflow: auto; }}
figcaption span {{ display: inline-block; margin-right: 1.2rem; font-size: 0.85rem; }}
.tip {{ position: absolute; background: #fffffff0; border: 1px solid {GRAY}; padding: 0.2rem 0.5rem;
  font-size: 0.8rem; pointer-events: none; white-space: nowrap; }}
.warning {{ color: #b00020; }} pre {{ overflow-x: auto; background: #f6f6f6; padding: 0.6rem; }}
</style>"""
_SCRIPT = """<script>
for (const figure of document.querySelectorAll(".chart")) {
  const svg = figure.querySelector("svg"), tip = figure.querySelector(".tip");
  const pointer = figure.querySelector(".pointer");
  const data = JSON.parse(figure.querySelector("script").textContent);
  const draw = (kind, attributes) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", kind);
    for (const name in attributes) node.setAttribute(name, attributes[name]);
    pointer.append(node);
  };
  svg.addEventListener("pointermove", event => {
    const box = svg.getBoundingClientRect(), scale = svg.viewBox.baseVal.width / box.width;
    const x = (event.clientX - box.left) * scale, y = (event.clientY - box.top) * scale;
    let nearest = -1;
    data.x.forEach((at, i) => {
      if (at !== null && (nearest < 0 || Math.abs(at - x) < Math.abs(data.x[nearest] - x)))
        nearest = i;
    });
    if (nearest < 0) return;
    const there = data.curves.filter(curve => curve.y[nearest] !== null)
      .sort((a, b) => Math.abs(a.y[nearest] - y) - Math.abs(b.y[nearest] - y)).slice(0, 12);
    pointer.replaceChildren();
    tip.replaceChildren("step " + data.steps[nearest]);
    const at = data.x[nearest];
    draw("path", {d: `M${at} ${data.top}V${data.bottom}`, stroke: "#8c8c8c"});
    for (const curve of there) {
      draw("circle", {cx: at, cy: curve.y[nearest], r: 3.5, fill: curve.color});
      const line = document.createElement("div"), mark = document.createElement("span");
      mark.style.color = curve.color;
      mark.textContent = "\\u25cf ";
      line.append(mark, curve.label + ": " + curve.text[nearest]);
      tip.append(line);
    }
    tip.hidden = false;
    const left = event.clientX - box.left + 14;
    tip.style.left = Math.max(0, Math.min(left, box.width - tip.offsetWidth)) + "px";
    tip.style.top = event.clientY - box.top + 14 + "px";
  });
  svg.addEventListener("pointerleave", () => { tip.hidden = true; pointer.replaceChildren(); });
}
</script>
"""
