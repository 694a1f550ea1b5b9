"""Diagrams of the model card as SVG: what was predicted against what happened.

It draws; figures come from elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

_SIDE, _MARGIN = 360, 48
_INK, _FAINT, _MARK = "#3c4043", "#bdc1c6", "#1a73e8"


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
    ticks = [tick for value in (0, 0.25, 0.5, 0.75, 1) for tick in _ticks(value)]
    size = _SIDE + 2 * _MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" font-family="sans-serif">',
            "<title>Risk of running out of memory: predicted against what happened</title>",
            f'<rect width="{size}" height="{size}" fill="#ffffff"/>',
            _line(0, 0, 1, 1, 'stroke-dasharray="4 4"'),
            *ticks,
            *marks,
            _label(_MARGIN + _SIDE / 2, size - 10, "predicted risk (sources left out)"),
            _label(14, _MARGIN + _SIDE / 2, "share that ran out", turned=True),
            "</svg>",
            "",
        ]
    )


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    ends = f'x1="{_x(x1)}" y1="{_y(y1)}" x2="{_x(x2)}" y2="{_y(y2)}"'
    return f'<line {ends} stroke="{_FAINT}" {style}/>'


def _ticks(value: float) -> tuple[str, ...]:
    thin, text = 'stroke-width="0.5"', f"{value:.0%}"
    return (
        _line(value, 0, value, 1, thin),
        _line(0, value, 1, value, thin),
        _label(_x(value), _y(0) + 16, text),
        _label(_x(0) - 20, _y(value) + 4, text),
    )


def _label(x: float, y: float, text: str, *, turned: bool = False) -> str:
    turn = f' transform="rotate(-90 {x} {y})"' if turned else ""
    return f'<text x="{x}" y="{y}" text-anchor="middle" fill="{_INK}" font-size="12"{turn}>{text}</text>'


def _x(value: float) -> float:
    return _MARGIN + _SIDE * value


def _y(value: float) -> float:
    return _MARGIN + _SIDE * (1 - value)
