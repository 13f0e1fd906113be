"""Measurements and what is said of them: medians, minima, ratios, spreads, targets."""

import statistics
from dataclasses import dataclass, field

RATIO, ADDED, VALUE = "ratio", "added", "value"


@dataclass
class Samples:
    """What the runs of one variant gave, in order. `best` may be finer than the runs: the best of a run's rounds."""

    name: str
    values: list = field(default_factory=list)
    best: list = field(default_factory=list)

    def add(self, value, best=None):
        self.values.append(value)
        self.best.append(value if best is None else best)

    @property
    def median(self):
        return statistics.median(self.values)

    @property
    def minimum(self):
        return min(self.best)


@dataclass
class Row:
    """One line of a table: a figure of `ours`, against `base` where there is one, beside its target.

    kind RATIO: ours / base; ADDED: ours - base; VALUE: ours alone.
    """

    work: str
    allocator: str
    metric: str
    unit: str
    kind: str
    ours: Samples
    base: Samples = None
    target: float = None

    def of(self, ours, base):
        return {RATIO: lambda: ours / base, ADDED: lambda: ours - base, VALUE: lambda: ours}[self.kind]()

    @property
    def each(self):
        """The figure of every run against its neighbour, ascending. What slows both of them down cancels out, as it
        does not in the figure of two medians: a virtual machine may change its speed by half from minute to minute."""
        bases = self.base.values if self.base else self.ours.values
        return sorted(self.of(ours, base) for ours, base in zip(self.ours.values, bases))

    @property
    def figure(self):
        """The median of `each`."""
        return statistics.median(self.each)

    @property
    def figure_of_minima(self):
        return self.of(self.ours.minimum, self.base and self.base.minimum)

    @property
    def spread(self):
        """The middle half of `each`: (low, high)."""
        each = self.each
        return each[len(each) // 4], each[-1 - len(each) // 4]

    @property
    def is_met(self):
        """None where there is no target."""
        return None if self.target is None else self.figure <= self.target

    def as_json(self):
        side = lambda samples: samples and {"name": samples.name, "median": samples.median,
                                            "minimum": samples.minimum, "values": samples.values}
        return {"work": self.work, "allocator": self.allocator, "metric": self.metric, "unit": self.unit,
                "kind": self.kind, "figure": self.figure, "figure_of_minima": self.figure_of_minima,
                "spread": self.spread, "target": self.target, "is_met": self.is_met,
                "ours": side(self.ours), "base": side(self.base)}


def interleaved(variants, runs):
    """Measures variants by turns: A B, B A, A B … so that neither slow drift nor the order favours one.

    variants: {name: function that runs once and gives {metric: value or (value, best)}}.
    Returns {name: {metric: Samples}}.
    """
    results = {name: {} for name in variants}
    for i in range(runs):
        for name in list(variants) if i % 2 == 0 else reversed(list(variants)):
            for metric, value in variants[name]().items():
                value, best = value if isinstance(value, tuple) else (value, None)
                results[name].setdefault(metric, Samples(name)).add(value, best)
    return results
