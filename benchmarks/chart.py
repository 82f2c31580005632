"""Bar charts in SVG, without a library: one for figures side by side, one for a whole in parts."""

from collections.abc import Sequence
from html import escape
from math import log10

from attrs import frozen

_ROW, _LABEL, _BAR, _MARGIN = 26, 210, 430, 16
_OURS, _THEIRS, _LIMIT = "#2c7a4b", "#8a94a6", "#c9b458"
_PARTS = ("#2c7a4b", "#5aa6c8", "#c9b458", "#b3452c")


@frozen
class Value:
    """One bar."""

    label: str
    value: float
    text: str

    @property
    def colour(self) -> str:
        """Zart's own colour, that of limits, or that of peers."""
        return _OURS if self.label.startswith("zart") else _LIMIT if self.label.startswith("limit") else _THEIRS


def bars(title: str, values: Sequence[Value]) -> str:
    """Return a chart with one bar for each value, on a logarithmic scale that begins a little below the smallest."""
    values = [each for each in values if each.value > 0]
    lowest = log10(min(each.value for each in values)) - 0.3
    scale = _BAR / (log10(max(each.value for each in values)) - lowest)
    rows = []
    for row, each in enumerate(values):
        top = _top(row)
        width = (log10(each.value) - lowest) * scale
        rows += [
            _label(top, each.label),
            f'<rect x="{_LABEL}" y="{top}" width="{width:.1f}" height="{_ROW - 8}" fill="{each.colour}"/>',
            f'<text x="{_LABEL + width + 6:.1f}" y="{top + 14}">{escape(each.text)}</text>',
        ]
    return _drawn(f"{title} (logarithmic)", rows, len(values))


def parts(title: str, unit: str, names: Sequence[str], wholes: Sequence[tuple[str, Sequence[float]]]) -> str:
    """Return a chart with one bar for each whole, drawn as its named parts one after the other."""
    scale = _BAR / max(sum(shares) for _, shares in wholes)
    rows = []
    for row, (label, shares) in enumerate(wholes):
        top, left = _top(row), float(_LABEL)
        rows.append(_label(top, label))
        for share, colour in zip(shares, _PARTS, strict=False):
            width = share * scale
            rows.append(f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{_ROW - 8}" fill="{colour}"/>')
            if width > 30:
                rows.append(f'<text x="{left + 4:.1f}" y="{top + 14}" fill="#ffffff">{share:.1f}</text>')
            left += width
        rows.append(f'<text x="{left + 6:.1f}" y="{top + 14}">{sum(shares):.1f} {escape(unit)}</text>')
    for number, (name, colour) in enumerate(zip(names, _PARTS, strict=False)):
        top = _top(len(wholes) + number) + 4
        rows += [
            f'<rect x="{_LABEL}" y="{top}" width="14" height="14" fill="{colour}"/>',
            f'<text x="{_LABEL + 22}" y="{top + 12}">{escape(name)}</text>',
        ]
    return _drawn(title, rows, len(wholes) + len(names))


def _top(row: int) -> int:
    return 3 * _MARGIN + _ROW * row


def _label(top: int, text: str) -> str:
    return f'<text x="{_LABEL - 8}" y="{top + 14}" text-anchor="end">{escape(text)}</text>'


def _drawn(title: str, rows: Sequence[str], number: int) -> str:
    width, height = _LABEL + _BAR + 120, _top(number) + _MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif">',
            '<g font-size="13">',
            f"<title>{escape(title)}</title>",
            '<rect width="100%" height="100%" fill="#ffffff"/>',
            f'<text x="{_MARGIN}" y="{_MARGIN + 12}" font-size="15" font-weight="bold">{escape(title)}</text>',
            *rows,
            "</g>",
            "</svg>",
            "",
        ]
    )
