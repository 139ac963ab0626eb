"""The pictures of a run, drawn by matplotlib as SVG whose colours are the page's.

What matplotlib draws in ``INK`` is coloured by the page's ``--ink``, so a picture is read on
a light ground and on a dark one. Colours of data are those of A. Okabe and K. Ito, "Color
Universal Design" (2008), which people with any colour vision can tell apart.
"""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec

import matplotlib
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure as Drawing

from mkold.run.activity import Activity
from mkold.run.figures import BY_KEY, GUEST_RATE, PASS_MS
from mkold.run.interval import spread
from mkold.run.results import PathResult
from mkold.run.sweep import KEYS
from mkold.view.run import LAYERS, stack

P = ParamSpec("P")

INK = "#010203"
_OWN_INK = (
    "svg{--ink:#1b1f24;background:#fff}"
    "@media(prefers-color-scheme:dark){svg{--ink:#e6e6e6;background:#15181c}}"
)
MOST_TICKS = 10
_MARKERS = "os^vDP*X"
PATH_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
LAYER_COLOURS = ("#2c5f8a", "#56b4e9", "#e69f00", "#d55e00", "#9aa0a6")
_STYLE: Any = {  # matplotlib's keys, which its types list one by one
    "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10,
    "text.color": INK, "axes.edgecolor": INK, "axes.labelcolor": INK, "xtick.color": INK,
    "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False,
    "axes.facecolor": "none", "figure.facecolor": "none", "legend.frameon": False,
    "svg.hashsalt": "mkold",
}  # fmt: skip


def svg(drawing: Drawing, *, alone: bool = False) -> str:
    """The picture as an SVG element without a header, in the page's colours; ``alone`` it is a
    file of its own, with its own ink for light and dark."""
    out = io.StringIO()
    canvas: Any = FigureCanvasSVG(drawing)  # it ships no types for this
    canvas.print_svg(out, metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = text.replace(INK, "var(--ink)")
    return text.replace("<defs>", f"<style>{_OWN_INK}</style><defs>", 1) if alone else text


def _drawing(width: float, height: float, columns: int = 1) -> tuple[Drawing, Sequence[Any]]:
    drawing = Drawing(figsize=(width, height), layout="constrained")
    return drawing, drawing.subplots(1, columns, squeeze=False)[0]


def _styled(draw: Callable[P, str]) -> Callable[P, str]:
    """Draw with the style above: matplotlib looks it up at each call."""

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> str:
        with matplotlib.rc_context(_STYLE):
            return draw(*args, **kwargs)

    return drawn


@_styled
def rates(paths: Sequence[PathResult]) -> str:
    """Guest throughput and the time of a pass, with the interval of each."""
    drawing, axes = _drawing(10, 0.5 + 0.45 * len(paths), 2)
    for ax, key, scale, label in (
        (axes[0], GUEST_RATE, 1e-6, "guest accesses, millions a second"),
        (axes[1], PASS_MS, 1.0, "an aging pass, ms"),
    ):
        for i, path in enumerate(paths):
            found = spread(BY_KEY[key].value, path.rounds)
            if found is None:
                continue
            low = found.value if found.low is None else found.low
            high = found.value if found.high is None else found.high
            colour = PATH_COLOURS[i % len(PATH_COLOURS)]
            ax.barh(i, found.value * scale, color=colour, height=0.6)
            ax.plot([low * scale, high * scale], [i, i], color=INK, linewidth=1.5)
        ax.set_yticks(range(len(paths)), [path.path for path in paths])
        ax.set_ylim(len(paths) - 0.5, -0.5)
        ax.set_xlim(left=0)
        ax.set_xlabel(label)
    return svg(drawing)


@_styled
def generations(paths: Sequence[PathResult], pages: int) -> str:
    """Pages by generation over time, a picture a path."""
    drawn = [path for path in paths if path.rounds and path.rounds[-1].generations]
    if not drawn:
        return ""
    drawing, axes = _drawing(3.4 * len(drawn), 2.8, len(drawn))
    for ax, path in zip(axes, drawn, strict=True):
        samples = path.rounds[-1].generations
        layers = np.array([stack(sample) for sample in samples]).T
        ax.stackplot([sample.at_s for sample in samples], layers, colors=LAYER_COLOURS)
        ax.set_title(path.path)
        ax.set_xlabel("seconds")
        ax.set_ylim(0, pages)
    axes[0].set_ylabel("pages")
    handles = [matplotlib.patches.Patch(color=c) for c in LAYER_COLOURS]
    drawing.legend(
        handles, [layer.name for layer in LAYERS], loc="outside lower center", ncols=5
    )
    return svg(drawing)


@_styled
def heat(activity: Activity) -> str:
    """Accesses by page and time, and the working set below the same time."""
    drawing, (ax, beside) = _drawing(10, 3.2, 2)
    some = activity.heat[activity.heat > 0]
    if len(some):
        norm = LogNorm(some.min(), max(some.max(), some.min() * 10))
        image = ax.imshow(
            np.ma.masked_equal(activity.heat, 0), origin="lower", aspect="auto",
            norm=norm, cmap="inferno", extent=(0, 100, 0, 100), interpolation="nearest",
        )  # fmt: skip
        drawing.colorbar(image, ax=ax, label="accesses")
    ax.set_xlabel("% of the trace")
    ax.set_ylabel("% of the pages")
    beside.step(np.linspace(0, 100, len(activity.working_set)), activity.working_set,
                color=PATH_COLOURS[0])  # fmt: skip
    beside.set_ylim(bottom=0)
    beside.set_xlabel("% of the trace")
    beside.set_ylabel("pages touched in 1/120 of it")
    return svg(drawing)


@_styled
def latencies(paths: Sequence[PathResult]) -> str:
    """Faults that took at least so long, by path, on two logarithmic axes."""
    drawing, (ax,) = _drawing(7, 3)
    for i, path in enumerate(paths):
        found = sorted(pair for r in path.rounds for pair in r.fault_ns)
        if not found:
            continue
        ns, counts = np.array(found).T
        above = counts[::-1].cumsum()[::-1] / counts.sum()
        colour = PATH_COLOURS[i % len(PATH_COLOURS)]
        ax.step(ns / 1e3, above, where="post", label=path.path, color=colour)
    if not ax.lines:
        return ""
    ax.set(xscale="log", yscale="log", xlabel="a guest fault, microseconds",
           ylabel="share that takes longer")  # fmt: skip
    ax.legend()
    return svg(drawing)


@_styled
def waiting(paths: Sequence[PathResult]) -> str:
    """Where the vCPUs' time goes that is not the guest's own."""
    parts = {
        "lock_wait_share": "mmu_lock",
        "swap_wait_share": "swap",
        "reclaim_share": "reclaim",
    }
    drawing, (ax,) = _drawing(7, 0.7 + 0.45 * len(paths))
    left = np.zeros(len(paths))
    for i, (key, label) in enumerate(parts.items()):
        values = np.array([100 * (path.figures.get(key) or 0.0) for path in paths])
        ax.barh(range(len(paths)), values, left=left, label=label, height=0.6,
                color=PATH_COLOURS[i])  # fmt: skip
        left += values
    ax.set_yticks(range(len(paths)), [path.path for path in paths])
    ax.invert_yaxis()
    ax.set_xlabel("% of the vCPUs' time")
    drawing.legend(loc="outside right upper")
    return svg(drawing)


@_styled
def grid(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> str:
    """A sweep: the guest's speed and a pass by the first key, a line for each path and each
    combination of the others."""
    drawing, axes = _drawing(11, 4, 2)
    first, others = keys[0], keys[1:]
    lines: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        if " #" not in row["path"]:
            lines.setdefault((row["path"], *(row[key] for key in others)), []).append(row)
    paths = list(dict.fromkeys(line[0] for line in lines))
    for ax, key, label in (
        (axes[0], GUEST_RATE, "guest accesses a second"),
        (axes[1], PASS_MS, "an aging pass, ms"),
    ):  # fmt: skip
        for number, (line, found) in enumerate(lines.items()):
            seen = sorted((row[first], row[key]) for row in found if row[key] is not None)
            if seen:
                named = [
                    f"{name} {value:g}" for name, value in zip(others, line[1:], strict=True)
                ]
                ax.plot(*zip(*seen, strict=True), marker=_MARKERS[number % len(_MARKERS)],
                        color=PATH_COLOURS[paths.index(line[0]) % len(PATH_COLOURS)],
                        label=", ".join([line[0], *named]))  # fmt: skip
        values = sorted({row[first] for row in rows})
        if len(values) <= MOST_TICKS:
            ax.set_xticks(values, [f"{value:g}" for value in values])
        ax.set(xlabel=f"{first} ({KEYS[first].unit})", ylabel=label)
        ax.set_ylim(bottom=0)
    axes[0].legend(fontsize=8)
    return svg(drawing, alone=True)
