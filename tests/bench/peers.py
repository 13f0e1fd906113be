"""Other tools that account for allocations, as Debian ships them, beside the library on the same workloads."""


import variants
from figures import RATIO, Row, interleaved
from micro import METRIC, UNIT, workload

WORKS = (("pair", 1), ("churn", 1), ("bulk", 1), ("passed", 2))
MOST_RUNS = 3  # some take microseconds for one allocation


def peers_of(allocator, folder):
    """{name: its environment} of those that account for this allocator."""
    tools = variants.profilers(allocator, folder)
    if allocator == "ptmalloc":
        tools = {"libmemusage": variants.preloaded("libmemusage.so", **variants.MALLOPT), **tools}
    return tools


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
