"""What sampled profiles cost: turned on against off, beside other heap profilers, and the longest wait for a dump."""

import os
import subprocess
import tempfile
import time

import inputs
import variants
from figures import RATIO, VALUE, Row, Samples, interleaved
from micro import METRIC, UNIT, workload
from peers import MOST_RUNS
from process import CLEAN, Failure
from programs import python_command, rows_of, timed

MEAN = "512K"
TARGET_MICRO, TARGET_PROGRAM, TARGET_DUMP_MS = 1.06, 1.02, 1.0
CLI = variants.BUILD / "control" / "cli" / "membudget"
LATENCY = variants.BUILD / "tests" / "bench" / "bench_profile_latency"
DUMPS = 3


def profiled(allocator, **settings):
    return variants.ours(allocator, MEMBUDGET_PROFILE=MEAN, **settings)


def small(work):
    """A small workload, profiling against not profiling, both under the library."""
    def compare(allocator, options):
        results = interleaved({
            "off": workload(work, 1, options.seconds, variants.ours(allocator)),
            "on": workload(work, 1, options.seconds, profiled(allocator)),
        }, options.runs)
        return [Row(f"{work}, profiling", allocator, METRIC, UNIT, RATIO, results["on"][METRIC],
                    results["off"][METRIC], TARGET_MICRO)]
    return compare


def on_against_off(label, allocator, command, options, **settings):
    return rows_of(f"{label}, profiling", allocator, ("off", options.take(command, variants.ours(allocator, **settings))),
                   ("on", options.take(command, profiled(allocator, **settings))), TARGET_PROGRAM, options)


def python(allocator, options):
    return on_against_off("python", allocator, python_command(options), options, PYTHONHASHSEED="0")


def compiler(allocator, options):
    source = os.path.join(options.folder, "large.cc")
    inputs.write_cpp(source, options.scale)
    return on_against_off("g++ -O1", allocator, ["g++", "-std=c++20", "-O1", "-c", "-o", os.devnull, source], options)


def beside_others(allocator, options):
    """Each profiler against the allocator by itself, on the Python job with its small objects from malloc."""
    settings = {"membudget": profiled(allocator), **variants.profilers(allocator, options.folder)}
    fixed = {"PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0"}
    each = {name: timed(python_command(options), {**of, **fixed})
            for name, of in {"raw": variants.raw(allocator), **settings}.items()}
    results = interleaved(each, min(options.program_runs, MOST_RUNS))
    return [Row(f"python, {name}", allocator, metric, "s", RATIO, results[name][metric], results["raw"][metric])
            for name in settings for metric in results[name]]


def dump(allocator, options):
    """The longest allocation of 8 threads while profiles are taken, by the thread's own time: what it waits for
    because other programs run is not counted. The least disturbed of the runs counts, as "minimum"."""
    samples = {name: Samples(name) for name in ("no profile", "profiles")}
    for _ in range(options.runs):
        samples["no profile"].add(longest_ms(allocator, 0))
        samples["profiles"].add(longest_ms(allocator, DUMPS))
    return [Row(f"longest malloc, {name} taken", allocator, "CPU time of one call", "ms", VALUE, of, None,
                TARGET_DUMP_MS if of.name == "profiles" else None) for name, of in samples.items()]


def longest_ms(allocator, dumps):
    settings = {**CLEAN, **variants.ours(allocator, MEMBUDGET_PROFILE="1K")}
    with tempfile.TemporaryDirectory() as folder, \
            subprocess.Popen([LATENCY, "60"], env=settings, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             text=True) as process:
        if process.stdout.readline() != "ready\n":
            raise Failure("profile_latency: it did not begin")
        for i in range(dumps):
            path = os.path.join(folder, f"{i}.pb.gz")
            subprocess.run([CLI, "profile", str(process.pid), "-o", path], check=True,
                           env={**CLEAN, "MEMBUDGET_DIR": variants.folder["blocks"]})
        if dumps == 0:
            time.sleep(1)
        output, _ = process.communicate("\n")
    return int(output.split()[0]) / 1e6
