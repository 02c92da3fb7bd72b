"""Charts as SVG, by hand: horizontal bars with the span over rounds as a line. On white paper, for dark readers too."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

from tests.bench.spread import Spread

_WIDTH: Final = 820
#: Room for the longest name of a contestant.
LABEL_WIDTH: Final = 270
_VALUE_WIDTH: Final = 150
_BAR_HEIGHT: Final = 18
_ROW_HEIGHT: Final = 26
_GROUP_GAP: Final = 30
_TOP: Final = 58
_CUT_AT: Final = 3
_OURS, _THEIRS, _SPAN, _TEXT, _FAINT, _PAPER = "#2f6fb0", "#a9b4c0", "#1d2733", "#1d2733", "#5d6a78", "#ffffff"


@dataclass(frozen=True, slots=True)
class Bar:
    """`ours`: a build of the gateway, drawn in colour."""

    label: str
    spread: Spread
    ours: bool


@dataclass(frozen=True, slots=True)
class Group:
    """Bars under one heading, say one workload's."""

    title: str
    bars: tuple[Bar, ...]


def bar_chart(title: str, subtitle: str, groups: Sequence[Group], *, decimals: int, reference: float | None = None) -> str:
    """All bars to one scale from zero. `reference` draws a line, say at 1 for a ratio. Groups without bars are left out."""
    shown = [group for group in groups if group.bars]
    scale = (_WIDTH - LABEL_WIDTH - _VALUE_WIDTH) / max(_longest(shown), reference or 0.0, 1e-12)
    height = _TOP + sum(_GROUP_GAP + _ROW_HEIGHT * len(group.bars) for group in shown) + 14
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        'font-family="DejaVu Sans, Helvetica, Arial, sans-serif" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{height}" rx="6" fill="{_PAPER}"/>',
        _text(16, 26, title, size=15, weight="bold"),
        _text(16, 46, subtitle, size=11, colour=_FAINT),
    ]
    y = _TOP
    for group in shown:
        parts.append(_text(16, y + 20, group.title, size=12, weight="bold"))
        y += _GROUP_GAP
        first = y
        for bar in group.bars:
            parts += _bar(bar, y, scale, decimals)
            y += _ROW_HEIGHT
        if reference is not None:
            x = LABEL_WIDTH + reference * scale
            parts.append(f'<path d="M{x:.1f} {first - 3}V{y - 4}" stroke="{_FAINT}" stroke-dasharray="3 3"/>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _longest(groups: Sequence[Group]) -> float:
    """What the full width stands for. One far behind does not make the others' bars invisible: it is cut, and says so."""
    bars = [bar for group in groups for bar in group.bars]
    everybody = max((bar.spread.high for bar in bars), default=1.0)
    ours = max((bar.spread.high for bar in bars if bar.ours), default=everybody)
    return min(everybody, _CUT_AT * ours) if ours > 0 else everybody


def _bar(bar: Bar, y: int, scale: float, decimals: int) -> list[str]:
    full = float(_WIDTH - LABEL_WIDTH - _VALUE_WIDTH)
    ends = (bar.spread.low, bar.spread.median, bar.spread.high)
    low, middle, high = (min(max(value, 0.0) * scale, full) for value in ends)
    cut = " (cut)" if bar.spread.median * scale > full * 1.001 else ""
    across = y + _BAR_HEIGHT / 2
    size, colour = f'width="{max(middle, 1):.1f}" height="{_BAR_HEIGHT}"', _OURS if bar.ours else _THEIRS
    parts = [
        _text(LABEL_WIDTH - 8, y + 13, bar.label, size=11, anchor="end"),
        f'<rect x="{LABEL_WIDTH}" y="{y}" {size} fill="{colour}"/>',
    ]
    if bar.spread.count > 1:
        left, right = LABEL_WIDTH + low, LABEL_WIDTH + high
        marks = f"M{left:.1f} {across - 4}v8M{right:.1f} {across - 4}v8"
        parts.append(f'<path d="M{left:.1f} {across}H{right:.1f}{marks}" stroke="{_SPAN}" fill="none"/>')
    label_x = LABEL_WIDTH + max(middle, high if bar.spread.count > 1 else 0.0) + 8
    parts.append(_text(label_x, y + 13, f"{bar.spread.median:,.{decimals}f}{cut}", size=11, colour=_FAINT))
    return parts


def _text(
    x: float, y: float, words: str, *, size: int, weight: str = "normal", anchor: str = "start", colour: str = _TEXT
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" fill="{colour}">'
        f"{escape(words)}</text>"
    )
