"""Small allocation workloads: the library against the allocator by itself; near the limit against far from it."""

import variants
from figures import RATIO, Row, interleaved
from process import run

WORKLOADS = variants.BUILD / "tests" / "bench" / "bench_workloads"
METRIC, UNIT = "malloc and free", "ns"
TARGETS = {
    "pair": {"ptmalloc": 1.25, "jemalloc": 1.30, "mimalloc": 1.50, "tcmalloc": 1.80},
    "churn": {"ptmalloc": 1.12, "jemalloc": 1.12, "mimalloc": 1.25, "tcmalloc": 1.40},
    "bulk": {"ptmalloc": 1.15, "jemalloc": 1.15, "mimalloc": 1.30, "tcmalloc": 1.30},
}
TARGETS["passed"], TARGETS["passed-bulk"] = TARGETS["churn"], TARGETS["bulk"]
TARGET_NEAR = 1.3
HELD_BYTES = 256 << 20


def workload(name, threads, seconds, settings, *arguments):
    """A function that runs it once: the median of the rounds, and the best."""
    def once():
        median, best = run([WORKLOADS, name, threads, seconds, *arguments], settings).output.split()
        return {METRIC: (float(median), float(best))}
    return once


def compare(work, allocator, options, threads=1):
    """[Row] of one work by one allocator: with the library, and with the least that counting can take."""
    label = work if threads == 1 else f"{work}, {threads} threads"
    sides = {"raw": workload(work, threads, options.seconds, variants.raw(allocator)),
             "membudget": workload(work, threads, options.seconds, variants.ours(allocator))}
    least = variants.least(allocator) if threads == 1 else None
    if least:
        sides["least"] = workload(work, threads, options.seconds, least)
    results = interleaved(sides, options.runs)
    raw = results["raw"][METRIC]
    rows = [Row(label, allocator, METRIC, UNIT, RATIO, results["membudget"][METRIC], raw, TARGETS[work][allocator])]
    if least:
        rows.append(Row(label, allocator, f"{METRIC}, at the least", UNIT, RATIO, results["least"][METRIC], raw))
    return rows


def near(allocator, options, threads):
    """The same program, holding the same, at 99 % of its budget and at 50 %."""
    def at(share):
        settings = variants.ours(allocator, limit=int(HELD_BYTES / share))
        return workload("near", threads, options.seconds, settings, HELD_BYTES)

    results = interleaved({"at 50 %": at(0.50), "at 99 %": at(0.99)}, options.runs)
    label = "near the limit" + (f", {threads} threads" if threads > 1 else "")
    return [Row(label, allocator, METRIC, UNIT, RATIO, results["at 99 %"][METRIC], results["at 50 %"][METRIC],
                TARGET_NEAR)]
