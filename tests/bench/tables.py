"""The tables: for the terminal as they come, and as Markdown."""

import machine as machines
from figures import RATIO, VALUE
from works import GROUPS

COLUMNS = ("work", "allocator", "measured", "without", "with", "figure", "of the minima", "middle half", "target", "")

NOTES = """\
`figure` is the median over the runs of each one's ratio to its neighbour (with the library / without), or of the
difference where a target is one, and `middle half` the range of the middle half of those ratios; `of the minima` is the
ratio of the least disturbed runs; "without" and "with" are medians of each side by itself. The runs are interleaved:
A B, B A, A B. "Without" is the same allocator preloaded by itself, or glibc with the
same thresholds; for the Python defaults plain python3; near the limit the same program at 50 % of its budget."""


def number(value):
    """Three significant figures, and no exponent."""
    size = abs(value)
    decimals = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:.{decimals}f}"


def figure(row, value):
    return f"{value:.3f}" if row.kind == RATIO else f"{number(value)} {row.unit}"


def limit(row):
    if row.target is None:
        return ""
    return f"≤ {row.target:g}" + ("" if row.kind == RATIO else f" {row.unit}")


def verdict(row):
    return {None: "", True: "met", False: "NOT MET"}[row.is_met]


def cells(row):
    low, high = row.spread
    with_unit = lambda samples: f"{number(samples.median)} {row.unit}"
    return (row.work, row.allocator, row.metric,
            with_unit(row.base) if row.base else "", "" if row.kind == VALUE else with_unit(row.ours),
            figure(row, row.figure), figure(row, row.figure_of_minima),
            f"{number(low)} … {number(high)}" if row.kind != RATIO else f"{low:.2f} … {high:.2f}",
            limit(row), verdict(row))


def line(row):
    """One row for the terminal."""
    work, allocator, metric, without, with_it, value, minima, spread, target, met = cells(row)
    sides = f"{without} -> {with_it}" if without else ""
    return (f"{work:<40} {allocator:<9} {metric:<28} {sides:<24} {value:>10}  (minima {minima}, {spread})"
            f"  {target} {met}").rstrip()


def _table(rows):
    yield "| " + " | ".join(COLUMNS) + " |"
    yield "| --- | --- | --- " + "| ---: " * (len(COLUMNS) - 4) + "| --- |"
    for row in rows:
        yield "| " + " | ".join(cells(row)) + " |"


def markdown(machine, results, problems):
    """The whole report. results: {group: [Row]}."""
    judged = [row for rows in results.values() for row in rows if row.is_met is not None]
    lines = ["# Benchmark", "", f"{machine['date']}, commit {machine['commit']}, by `{machine['command']}`.",
             f"{machines.sentence(machine)}.", "", NOTES, "",
             f"{sum(row.is_met for row in judged)} of {len(judged)} targets met.", ""]
    for group, rows in results.items():
        if rows:
            lines += [f"## {GROUPS[group]}", "", *_table(rows), ""]
    if problems:
        lines += ["## Could not run", "", *(f"- {problem}" for problem in problems), ""]
    return "\n".join(lines)
