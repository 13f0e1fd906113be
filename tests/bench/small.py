"""What it costs to be there at all: start-up, memory of a process that does nothing, reading the level."""

import os
import re
import subprocess
import time

import variants
from figures import ADDED, VALUE, Row, Samples, interleaved
from process import CLEAN, Failure, run
from programs import PYTHON

START_TARGET_MS, MEMORY_TARGET_KIB, C_TARGET_NS, PYTHON_TARGET_NS = 1.0, 400, 1.0, 60.0
STARTS_IN_A_RUN = 15

READ_IN_PYTHON = """\
import timeit, membudget
budget = membudget.attach()
assert budget.level == membudget.Level.NONE
timer = timeit.Timer("budget.level", globals=globals())
print(min(timer.repeat(7, 500_000)) / 500_000 * 1e9)
"""


def starts(settings):
    """A function that starts `true` some times: milliseconds from the call to its end, the median and the best."""
    environment = {**CLEAN, **settings}

    def once():
        each = []
        for _ in range(STARTS_IN_A_RUN):
            start = time.perf_counter_ns()
            pid = os.posix_spawn("/bin/true", ["true"], environment)
            _, status = os.waitpid(pid, 0)
            each.append((time.perf_counter_ns() - start) / 1e6)
            if status != 0:
                raise Failure("true: it failed")
        return {"true": (sorted(each)[len(each) // 2], min(each))}
    return once


def start(allocator, options):
    """`true`: later than without the library, and how much of that is the allocator's own."""
    settings = {"plain": variants.plain(), "raw": variants.raw(allocator), "membudget": variants.ours(allocator)}
    results = interleaved({name: starts(of) for name, of in settings.items()}, 2 * options.runs)
    plain = results["plain"]["true"]
    return [Row("start of true", allocator, "time added", "ms", ADDED, results["membudget"]["true"], plain,
                START_TARGET_MS),
            Row("start of true: the allocator by itself", allocator, "time added", "ms", ADDED,
                results["raw"]["true"], plain)]


def private_kib(settings):
    """A function that looks at a process that sleeps: its private memory, and what of it is dirty."""
    def once():
        sleeper = subprocess.Popen(["sleep", "60"], env={**CLEAN, **settings}, stderr=subprocess.DEVNULL)
        try:
            wait_until_asleep(sleeper)
            with open(f"/proc/{sleeper.pid}/smaps_rollup", encoding="ascii") as file:
                fields = dict(re.findall(r"^(Private_\w+):\s+(\d+) kB$", file.read(), re.MULTILINE))
        finally:
            sleeper.kill()
            sleeper.wait()
        dirty = int(fields["Private_Dirty"])
        return {"private memory": dirty + int(fields["Private_Clean"]), "dirty private memory": dirty}
    return once


def wait_until_asleep(process):
    """Until it is in the system call that it sleeps in."""
    for _ in range(200):
        with open(f"/proc/{process.pid}/wchan", encoding="ascii") as file:
            if "nanosleep" in file.read():
                return
        time.sleep(0.01)


def memory(allocator, options):
    """A process that does nothing: private memory beyond the allocator's own, and beyond plain sleep's."""
    settings = {"plain": variants.plain(), "raw": variants.raw(allocator), "membudget": variants.ours(allocator)}
    results = interleaved({name: private_kib(of) for name, of in settings.items()}, min(5, options.runs))
    ours, base = results["membudget"], results["raw"]
    return [Row("sleep", allocator, f"{metric} added", "KiB", ADDED, ours[metric], base[metric],
                MEMORY_TARGET_KIB if metric == "private memory" else None) for metric in ours]


def level(allocator, options):
    """Reading the level, in C and in Python; the allocator has no part in it."""
    samples = {name: Samples("membudget") for name in ("call", "load", "python")}
    settings = variants.ours(allocator)
    package = os.pathsep.join(str(tree / "control" / "python") for tree in (variants.REPOSITORY, variants.BUILD))
    python = {**settings, "PYTHONPATH": package, "PYTHONDONTWRITEBYTECODE": "1"}
    for _ in range(options.runs):
        call, load = run([variants.BUILD / "tests" / "bench" / "bench_read_level"], settings).output.split()
        samples["call"].add(float(call))
        samples["load"].add(float(load))
        samples["python"].add(float(run([PYTHON, "-c", READ_IN_PYTHON], python).output))
    return [Row("reading the level", "", "membudget_level() in C", "ns", VALUE, samples["call"], None, C_TARGET_NS),
            Row("reading the level", "", "a load from the block in C", "ns", VALUE, samples["load"], None, C_TARGET_NS),
            Row("reading the level", "", "budget.level in Python", "ns", VALUE, samples["python"], None,
                PYTHON_TARGET_NS)]
