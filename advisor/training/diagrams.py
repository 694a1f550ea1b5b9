"""Diagrams of the model card as SVG: what was predicted against what happened.

It draws; figures come from elsewhere.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

_SIDE, _MARGIN = 360, 48
_INK, _FAINT, _MARK = "#3c4043", "#bdc1c6", "#1a73e8"
_COLOURS = ("#1a73e8", "#d93025", "#188038", "#b06000")
_FONT = 'font-family="sans-serif"'
_CELLS = 60
"""Cells on each axis of a scatter: thousands of figures in a small file."""


def reliability_diagram(bins: Sequence[tuple[int, int, float, float]]) -> str:
    """Share that ran out of memory against the mean risk of each bin; the area of a mark is its runs.

    `bins`: (bin, runs, mean risk, share that ran out), as `advisor.training.risk.reliability` gives them.
    """
    most = max((runs for _, runs, _, _ in bins), default=1)
    marks = [
        f'<circle cx="{_x(mean):.1f}" cy="{_y(share):.1f}" r="{4 + 14 * math.sqrt(runs / most):.1f}" '
        f'fill="{_MARK}" fill-opacity="0.6"><title>{runs} runs: risk {mean:.0%}, ran out {share:.0%}</title>'
        f'</circle><text x="{_x(mean):.1f}" y="{_y(share) - 8:.1f}" text-anchor="middle" fill="{_INK}" '
        f'font-size="10">{runs}</text>'
        for _, runs, mean, share in bins
    ]
    return _square(
        "Risk of running out of memory: predicted against what happened",
        ("predicted risk (sources left out)", "share that ran out"),
        [*_shares(), *marks],
    )


def coverage_diagram(curves: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Share of figures inside an interval against the level it claims, a curve of (level, share) for each."""
    marks = []
    for place, (name, points) in enumerate(curves.items()):
        colour = _COLOURS[place % len(_COLOURS)]
        path = " ".join(f"{_x(level):.1f},{_y(share):.1f}" for level, share in points)
        marks.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        marks += [
            f'<circle cx="{_x(level):.1f}" cy="{_y(share):.1f}" r="3" fill="{colour}">'
            f"<title>{_plain(name)}: {level:.0%} claimed, {share:.0%} inside</title></circle>"
            for level, share in points
        ]
        marks.append(_label(_x(0.03), _y(0.95 - 0.06 * place), name, colour=colour, anchor="start"))
    return _square(
        "Intervals: what they claim against what lies inside",
        ("level claimed", "share inside (sources left out)"),
        [*_shares(), *marks],
    )


def scatter_diagram(measured: Sequence[float], predicted: Sequence[float]) -> str:
    """Predicted against measured rates, both on the same logarithmic axes; darker cells hold more figures."""
    low = math.floor(math.log10(min(*measured, *predicted)))
    high = math.ceil(math.log10(max(*measured, *predicted)))
    span = max(high - low, 1)
    cells = Counter(
        (_cell(truth, low, span), _cell(guess, low, span))
        for truth, guess in zip(measured, predicted, strict=True)
    )
    most, side = max(cells.values()), _SIDE / _CELLS
    marks = [
        f'<rect x="{_x(x / _CELLS):.1f}" y="{_y((y + 1) / _CELLS):.1f}" width="{side:.1f}" '
        f'height="{side:.1f}" fill="{_MARK}" fill-opacity="{0.15 + 0.85 * math.sqrt(count / most):.2f}">'
        f"<title>{count} figures</title></rect>"
        for (x, y), count in sorted(cells.items())
    ]
    powers = [(exponent - low) / span for exponent in range(low, high + 1)]
    ticks = [
        tick
        for place, exponent in zip(powers, range(low, high + 1), strict=True)
        for tick in _ticks(place, f"{10.0**exponent:g}")
    ]
    quarter = math.log10(1.25) / span
    return _square(
        "Decode of one sequence: predicted against measured, tokens per second",
        ("measured", "predicted (sources left out)"),
        [
            *ticks,
            *marks,
            _line(0, 0, 1, 1, ""),
            _line(0, quarter, 1 - quarter, 1, 'stroke-dasharray="4 4"'),
            _line(quarter, 0, 1, 1 - quarter, 'stroke-dasharray="4 4"'),
        ],
    )


def bars_diagram(title: str, bars: Sequence[tuple[str, int, float]]) -> str:
    """Median error by group: (name, figures, error) from the top."""
    most = max((error for _, _, error in bars), default=1.0)
    width, left, height = 560, 210, 22 * len(bars) + 60
    lines = []
    for place, (name, count, error) in enumerate(bars):
        y = 40 + 22 * place
        long = (width - left - 110) * error / most
        lines += [
            _label(left - 8, y + 12, name, anchor="end"),
            f'<rect x="{left}" y="{y}" width="{long:.1f}" height="16" fill="{_MARK}"/>',
            _label(left + long + 6, y + 12, f"{error:.0%} of {count:,}", anchor="start"),
        ]
    return _drawing(width, height, title, [_label(width / 2, 22, title), *lines])


def _plain(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")


def _cell(value: float, low: int, span: int) -> int:
    return min(int((math.log10(value) - low) / span * _CELLS), _CELLS - 1)


def _square(title: str, axes: tuple[str, str], marks: Sequence[str]) -> str:
    size = _SIDE + 2 * _MARGIN
    labels = [
        _label(_MARGIN + _SIDE / 2, size - 10, axes[0]),
        _label(14, _MARGIN + _SIDE / 2, axes[1], turned=True),
    ]
    return _drawing(size, size, title, [*marks, *labels])


def _drawing(width: float, height: float, title: str, marks: Sequence[str]) -> str:
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {_FONT}>',
            f"<title>{_plain(title)}</title>",
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
            *marks,
            "</svg>",
            "",
        ]
    )


def _shares() -> list[str]:
    """The axes of two shares, with the line on which they are equal."""
    values = (0, 0.25, 0.5, 0.75, 1)
    diagonal = _line(0, 0, 1, 1, 'stroke-dasharray="4 4"')
    return [diagonal, *(tick for value in values for tick in _ticks(value, f"{value:.0%}"))]


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    ends = f'x1="{_x(x1)}" y1="{_y(y1)}" x2="{_x(x2)}" y2="{_y(y2)}"'
    return f'<line {ends} stroke="{_FAINT}" {style}/>'


def _ticks(place: float, text: str) -> tuple[str, ...]:
    thin = 'stroke-width="0.5"'
    return (
        _line(place, 0, place, 1, thin),
        _line(0, place, 1, place, thin),
        _label(_x(place), _y(0) + 16, text),
        _label(_x(0) - 20, _y(place) + 4, text),
    )


def _label(
    x: float, y: float, text: str, *, turned: bool = False, colour: str = _INK, anchor: str = "middle"
) -> str:
    turn = f' transform="rotate(-90 {x} {y})"' if turned else ""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} fill="{colour}" font-size="12"{turn}>{_plain(text)}</text>'


def _x(value: float) -> float:
    return _MARGIN + _SIDE * value


def _y(value: float) -> float:
    return _MARGIN + _SIDE * (1 - value)
