"""A bar chart in SVG, without a library."""

from collections.abc import Sequence
from html import escape

_ROW, _LABEL, _BAR, _MARGIN = 24, 220, 420, 16


def bars(title: str, values: Sequence[tuple[str, float]]) -> str:
    """Return a chart with one horizontal bar for each labelled value; bars of negative values go to the left of zero."""
    lowest = min(0.0, *(value for _, value in values))
    scale = _BAR / (max(0.0, *(value for _, value in values)) - lowest or 1.0)
    zero = _LABEL - lowest * scale
    width, height = _LABEL + _BAR + 60 + _MARGIN, 3 * _MARGIN + _ROW * (len(values) + 1)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="13">',
        f"<title>{escape(title)}</title>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text x="{_MARGIN}" y="{_MARGIN + 12}" font-size="15" font-weight="bold">{escape(title)}</text>',
    ]
    for row, (label, value) in enumerate(values):
        top = 2 * _MARGIN + _ROW * (row + 0.5)
        left, right = sorted((zero, zero + value * scale))
        colour = "#b3452c" if value > 0 else "#2c7a4b"
        lines += [
            f'<text x="{_LABEL - 8}" y="{top + 14:g}" text-anchor="end">{escape(label)}</text>',
            f'<rect x="{left:.1f}" y="{top:g}" width="{right - left:.1f}" height="{_ROW - 6}" fill="{colour}"/>',
            f'<text x="{right + 6:.1f}" y="{top + 14:g}">{value:.1f}</text>',
        ]
    bottom = 2 * _MARGIN + _ROW * (len(values) + 0.5)
    lines += [f'<line x1="{zero:.1f}" x2="{zero:.1f}" y1="{2 * _MARGIN}" y2="{bottom:g}" stroke="#555555"/>', "</svg>", ""]
    return "\n".join(lines)
