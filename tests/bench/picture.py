"""The picture: a bar for each ratio, with a mark where its target is. Plain SVG, dark on white."""

import math
from html import escape

import machine as machines
from figures import RATIO
from works import GROUPS

WIDTH, LEFT, RIGHT, BAR, GAP = 980, 400, 110, 11, 5
COLORS = {"ptmalloc": "#4878a8", "jemalloc": "#c2703d", "mimalloc": "#5a9a5a", "tcmalloc": "#8a6bb1"}
MISSED = "#b00020"


class Page:
    """SVG elements, from the top down."""

    def __init__(self):
        self.elements = []
        self.y = 14

    def text(self, x, content, size=11, anchor="start", weight="normal", color="#111", y=None):
        self.elements.append(f'<text x="{x:.1f}" y="{self.y if y is None else y:.1f}" font-size="{size}" '
                             f'text-anchor="{anchor}" font-weight="{weight}" fill="{color}">{escape(content)}</text>')

    def box(self, x, y, width, height, color):
        self.elements.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height}" fill="{color}"/>')

    def line(self, x, top, bottom, color, width=1):
        self.elements.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" y2="{bottom:.1f}" stroke="{color}" '
                             f'stroke-width="{width}"/>')

    def svg(self):
        height = self.y + 10
        return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
                f'viewBox="0 0 {WIDTH} {height}" font-family="DejaVu Sans, Verdana, sans-serif">\n'
                f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>\n' + "\n".join(self.elements) + "\n</svg>\n")


def scale_of(rows):
    """From a ratio to a length, linear, or logarithmic where ratios lie far apart: (function, whether it is)."""
    most = max(max(row.figure, row.target or 0) for row in rows)
    room = WIDTH - LEFT - RIGHT
    if most <= 4:
        top = max(1.5, most)
        return lambda ratio: room * ratio / top, False
    return lambda ratio: room * math.log(max(ratio, 0.5) / 0.5) / math.log(most / 0.5), True


def panel(page, title, rows):
    """One group: its title, its bars, a line where the ratio is 1."""
    length, is_logarithmic = scale_of(rows)
    page.y += 22
    page.text(10, title + (" (logarithmic)" if is_logarithmic else ""), 13, weight="bold")
    page.y += 8
    top = page.y
    for row in rows:
        bar(page, row, length)
        page.y += BAR + GAP
    page.line(LEFT + length(1), top - 3, page.y, "#111")
    page.text(LEFT + length(1), "1", 9, "middle", y=page.y + 8)
    page.y += 10


def bar(page, row, length):
    color = MISSED if row.is_met is False else "#111"
    page.box(LEFT, page.y, length(row.figure), BAR, COLORS[row.allocator])
    page.text(LEFT - 6, f"{row.work}, {row.allocator}: {row.metric}" if row.unit == "s" or row.unit == "us"
              else f"{row.work}, {row.allocator}", 10, "end", y=page.y + BAR - 2)
    target = ""
    if row.target is not None:
        page.line(LEFT + length(row.target), page.y - 2, page.y + BAR + 2, MISSED, 2)
        target = f"  (≤ {row.target:g})"
    figure = f"{row.figure:.{3 if row.figure < 2 else 1}f}"
    page.text(LEFT + max(length(row.figure), length(row.target or 0)) + 6, figure + target, 10, color=color,
              y=page.y + BAR - 2)


def draw(machine, results):
    """The picture of all ratios, as SVG text."""
    page = Page()
    page.y += 8
    page.text(10, "membudget: time with the library / time without (1: no cost; red mark: the target)", 15,
              weight="bold")
    page.y += 18
    page.text(10, f"{machine['date']}; {machines.sentence(machine)}", 10)
    for group, rows in results.items():
        ratios = [row for row in rows if row.kind == RATIO]
        if ratios:
            panel(page, GROUPS[group], ratios)
    return page.svg()
