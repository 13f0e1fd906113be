"""The outcome as a picture: how full the cgroup was at the peak, and who was killed."""

import html

_ROW, _LEFT, _WIDTH = 20, 230, 520
_LEAST, _MOST = 0.5, 1.0


def _bar(top, name, row):
    peak = row.get("peak", 0)
    length = max(0.0, min(1.0, (peak - _LEAST) / (_MOST - _LEAST))) * _WIDTH
    bad = row["killed"] or row["failed"]
    colour = "#c0392b" if bad else "#2e7d32" if name.startswith("membudget") else "#607d8b"
    note = f"{peak:.3f}" if peak else "-"
    if row["killed"]:
        note += f", killed {row['killed']:.0%}"
    return (
        f'<text x="{_LEFT - 8}" y="{top + 14}" text-anchor="end">{html.escape(name)}</text>'
        f'<rect x="{_LEFT}" y="{top + 3}" width="{length:.1f}" height="{_ROW - 6}" fill="{colour}"/>'
        f'<text x="{_LEFT + length + 6:.1f}" y="{top + 14}">{note}</text>'
    )


def of(rows):
    """An SVG of {mix: {strategy: row}}."""
    parts, top = [], 10
    for mix, of_mix in rows.items():
        title = f"{mix}: share of the cgroup in use at the peak (from {_LEAST:.0%}); red: killed or failed in some run"
        parts.append(f'<text x="10" y="{top + 14}" font-weight="bold">{title}</text>')
        top += _ROW + 4
        for name, row in of_mix.items():
            parts.append(_bar(top, name, row))
            top += _ROW
        top += 12
    width = _LEFT + _WIDTH + 160
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{top}" font-family="sans-serif" font-size="12">'
        f'<rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n'
    )
