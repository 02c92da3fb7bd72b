"""A chart of values over time as SVG, by hand: one line each, from zero, named where it ends. On white paper."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 760, 340, 60, 210, 60, 40
_COLOURS: Final = ("#2f6fb0", "#c1662b", "#3c8a4c", "#7a4fa3", "#5d6a78")
_TEXT, _FAINT = "#1d2733", "#5d6a78"
_NEAR: Final = 14  # names closer than this would stand upon each other


@dataclass(frozen=True, slots=True)
class Curve:
    """`points`: (x, y), x not falling."""

    name: str
    points: tuple[tuple[float, float], ...]


def curve_chart(title: str, subtitle: str, curves: Sequence[Curve]) -> str:
    """Both axes begin at zero."""
    shown = [curve for curve in curves if curve.points]
    most_x = max((x for curve in shown for x, _ in curve.points), default=1.0) or 1.0
    most_y = max((y for curve in shown for _, y in curve.points), default=1.0) * 1.05 or 1.0
    right, floor = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        return _LEFT + x / most_x * (right - _LEFT), floor - y / most_y * (floor - _TOP)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" '
        'font-family="DejaVu Sans, Helvetica, Arial, sans-serif" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" rx="6" fill="#ffffff"/>',
        f'<text x="16" y="26" font-size="15" font-weight="bold" fill="{_TEXT}">{escape(title)}</text>',
        f'<text x="16" y="46" font-size="11" fill="{_FAINT}">{escape(subtitle)}</text>',
        f'<path d="M{_LEFT} {_TOP}V{floor}H{right}" stroke="{_FAINT}" fill="none"/>',
    ]
    for part in (0.25, 0.5, 0.75, 1.0):
        x, y = place(part * most_x, part * most_y)
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" {_small("end")}>{part * most_y:,.0f}</text>')
        parts.append(
            f'<text x="{x:.1f}" y="{floor + 18}" {_small("middle")}>{part * most_x:,.{1 if most_x < 20 else 0}f}</text>'
        )
    taken: list[float] = []
    for number, curve in enumerate(shown):
        colour = _COLOURS[number % len(_COLOURS)]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in curve.points))
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        y = place(*curve.points[-1])[1]
        while any(abs(y - other) < _NEAR for other in taken):
            y += 1
        taken.append(y)
        parts.append(f'<text x="{right + 8}" y="{y + 4:.1f}" font-size="11" fill="{colour}">{escape(curve.name)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _small(anchor: str) -> str:
    return f'font-size="10" text-anchor="{anchor}" fill="{_FAINT}"'
