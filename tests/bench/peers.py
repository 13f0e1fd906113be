"""Other tools that account for allocations, as Debian ships them, beside the library on the same workloads."""

import os

import variants
from figures import RATIO, Row, interleaved
from micro import METRIC, UNIT, workload

WORKS = (("pair", 1), ("churn", 1), ("bulk", 1), ("passed", 2))
MOST_RUNS = 3  # some take microseconds for one allocation


def peers_of(allocator, folder):
    """{name: its environment} of those that account for this allocator. What they write is thrown away."""
    if allocator == "ptmalloc":
        return {
            "libmemusage": variants.preloaded("libmemusage.so", **variants.MALLOPT),
            "heaptrack": variants.preloaded("/usr/lib/heaptrack/libheaptrack_preload.so",
                                            DUMP_HEAPTRACK_OUTPUT=os.devnull, **variants.MALLOPT),
        }
    if allocator == "jemalloc":
        return {"jemalloc prof": variants.preloaded("libjemalloc.so.2", MALLOC_CONF="prof:true")}
    if allocator == "tcmalloc":
        return {"gperftools heap profiler":
                variants.preloaded("libtcmalloc.so.4", HEAPPROFILE=os.path.join(folder, "heap"))}
    return {}


def compare(allocator, options):
    """[Row], each tool against the allocator by itself; the library among them."""
    tools = peers_of(allocator, options.folder)
    if not tools:
        return []
    settings = {"raw": variants.raw(allocator), "membudget": variants.ours(allocator), **tools}
    rows = []
    for work, threads in WORKS:
        each = {name: workload(work, threads, options.seconds, of) for name, of in settings.items()}
        results = interleaved(each, min(options.runs, MOST_RUNS))
        label = work if threads == 1 else f"{work}, {threads} threads"
        rows += [Row(f"{label}: {name}", allocator, METRIC, UNIT, RATIO, results[name][METRIC], results["raw"][METRIC])
                 for name in settings if name != "raw"]
    return rows
