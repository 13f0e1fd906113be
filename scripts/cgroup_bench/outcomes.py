"""What runs came to: filed one by one, and tabled."""

import datetime
import json
import os
import platform
import statistics

import picture
import stream
from strategies import NAMES

_CASE = ("strategy", "mix", "workers", "seed", "events", "limit")
_HEAD = (
    "| strategy | runs | killed | used at the flush | at the peak | smallest batch | median batch | de-duplication"
    " | events/s |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
)


def group_of(outcome):
    """The table that it belongs to."""
    return outcome["mix"] + (f", {outcome['workers']} workers" if outcome["workers"] > 1 else "")


def _median(values):
    return statistics.median(list(values))


def summary_of(outcomes):
    """One row: medians over the runs that came to the end."""
    whole = [o for o in outcomes if o["done"] and o["batches"]]
    row = {
        "runs": len(outcomes),
        "killed": sum(o["killed"] for o in outcomes) / len(outcomes),
        "failed": sum(bool(o["error"]) for o in outcomes) / len(outcomes),
        "errors": sorted({o["error"] for o in outcomes if o["error"]}),
    }
    if whole:
        row["at_flush"] = _median(_median(o["at_flush"]) for o in whole)
        row["peak"] = _median(o["peak"] for o in whole)
        row["highest"] = max(o["peak"] for o in whole)
        row["smallest"] = min(min(o["batches"]) for o in whole)
        row["median"] = _median(_median(o["batches"]) for o in whole)
        row["ratio"] = _median(o["read"] / (sum(o["batches"]) + o["rest"]) for o in whole)
        row["per_second"] = _median(o["read"] / o["seconds"] for o in whole)
    return row


def line_of(name, row):
    """A row of the table, in Markdown."""
    cells = [f"`{name}`", f"{row['runs']}", f"{row['killed']:.0%}"]
    if row["failed"]:
        cells[-1] += f" (+{row['failed']:.0%} failed)"
    if "peak" in row:
        cells += [f"{row['at_flush']:.3f}", f"{row['peak']:.3f}", f"{row['smallest']:,}", f"{row['median']:,.0f}",
                  f"{row['ratio']:.3f}", f"{row['per_second']:,.0f}"]
    else:
        cells += ["-"] * 6
    return "| " + " | ".join(cells) + " |"


class Outcomes:
    """bench-cgroup.jsonl in a folder, and the tables and the picture made of it."""

    def __init__(self, folder):
        self._folder = folder
        os.makedirs(folder, exist_ok=True)
        self._path = os.path.join(folder, "bench-cgroup.jsonl")
        self._all = []
        if os.path.exists(self._path):
            with open(self._path) as file:
                self._all = [json.loads(line) for line in file if line.endswith("\n")]
        self._known = {self._case_of(outcome) for outcome in self._all}

    @staticmethod
    def _case_of(outcome):
        return tuple(outcome[name] for name in _CASE)

    def has(self, case):
        """Whether that run's outcome is there."""
        return self._case_of(case) in self._known

    def add(self, outcome):
        """Files it, at once."""
        self._all.append(outcome)
        self._known.add(self._case_of(outcome))
        with open(self._path, "a") as out:
            out.write(json.dumps(outcome) + "\n")

    def _rows(self):
        groups = {}
        for outcome in self._all:
            groups.setdefault(group_of(outcome), {}).setdefault(outcome["strategy"], []).append(outcome)
        return {group: {name: summary_of(of_group[name]) for name in NAMES if name in of_group}
                for group, of_group in groups.items()}

    def write_tables(self):
        """bench-cgroup.md, .json and .svg; returns the first's text."""
        rows = self._rows()
        limits = sorted({f"{o['limit']} MiB" for o in self._all})
        events = sorted({f"{o['events']:,}" for o in self._all})
        text = [f"A cgroup of {' or '.join(limits)} without swap, {' or '.join(events)} events; {platform.machine()}, "
                f"Linux {platform.release()}, {os.cpu_count()} CPUs, {datetime.date.today()}."]
        for group, of_group in rows.items():
            text += [f"\n{group}: {stream.MIXES[group.split(',')[0]]}\n", _HEAD]
            text += [line_of(name, row) for name, row in of_group.items()]
        for name, content in (("md", "\n".join(text) + "\n"), ("json", json.dumps(rows, indent=1)), ("svg", picture.of(rows))):
            with open(os.path.join(self._folder, f"bench-cgroup.{name}"), "w") as out:
                out.write(content)
        return "\n".join(text)
