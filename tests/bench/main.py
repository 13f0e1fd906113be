#!/usr/bin/python3
"""Measures what membudget costs, beside the same allocators by themselves and beside other accounting tools.
Prints a line for each figure with its target, and writes results/bench.md, .json and .svg."""

import argparse
import json
import pathlib
import shlex
import shutil
import signal
import sys
import tempfile
import time

import machine as machines
import picture
import programs
import tables
import variants
import works
from process import Failure

RESULTS = variants.REPOSITORY / "results"


def names(text):
    return [name for name in text.split(",") if name]


def arguments():
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Takes most of an hour; with --quick some minutes. Run it on a machine that does nothing else. Exit "
               "status:\n0 all was run, whatever the figures; 1 something could not run, which is then named; 2 usage.")
    parser.add_argument("--work", type=names, metavar="W[,W]", help="only these works or groups (see --list)")
    parser.add_argument("--allocator", type=names, metavar="A[,A]", help="only these: " + " ".join(variants.ALLOCATORS))
    parser.add_argument("--runs", type=int, metavar="N", help="runs of each side (default 11; 7 for whole programs)")
    parser.add_argument("--quick", action="store_true", help="few, short runs: to see that it works")
    parser.add_argument("--list", action="store_true", help="say what there is to measure, and end")
    options = parser.parse_args()
    options.allocator = options.allocator or list(variants.ALLOCATORS)
    for allocator in options.allocator:
        if allocator not in variants.ALLOCATORS:
            parser.error(f"no such allocator: {allocator} (there are {', '.join(variants.ALLOCATORS)})")
    try:
        options.works = works.choose(options.work)
    except KeyError as error:
        parser.error(f"no such work: {error.args[0]} (see --list)")
    if options.runs is not None and options.runs < 1:
        parser.error("--runs must be 1 or more")
    return options


def settle(options):
    """Numbers of runs, and how long and large each is."""
    options.program_runs = options.runs or (3 if options.quick else 7)
    options.runs = options.runs or (3 if options.quick else 11)
    options.seconds = 0.1 if options.quick else 0.4
    options.scale = 0.2 if options.quick else 1.0
    options.take = programs.timed


def measure(options):
    """Runs all that was chosen: ({group: [Row]}, what could not run)."""
    results = {group: [] for group in works.GROUPS}
    problems = []
    for work in options.works:
        for allocator in (a for a in work.allocators if a in options.allocator or len(work.allocators) == 1):
            try:
                rows = work.function(allocator, options)
            except (Failure, OSError) as error:
                problems.append(f"{work.name} with {allocator}: {error}")
                print(f"could not run: {problems[-1]}", flush=True)
                continue
            for row in rows:
                print(tables.line(row), flush=True)
            results[work.group] += rows
    return results, problems


def write(machine, results, problems):
    """The files. Names them."""
    RESULTS.mkdir(exist_ok=True)
    rows = [{"group": group, **row.as_json()} for group, of in results.items() for row in of]
    contents = {
        "bench.md": tables.markdown(machine, results, problems),
        "bench.json": json.dumps({"machine": machine, "rows": rows, "could_not_run": problems}, indent=1) + "\n",
        "bench.svg": picture.draw(machine, results),
    }
    for name, text in contents.items():
        (RESULTS / name).write_text(text, encoding="utf-8")
    print("\nwritten: " + ", ".join(str(pathlib.Path("results") / name) for name in contents))


def main():
    options = arguments()
    if options.list:
        print(works.describe())
        return 0
    settle(options)
    machine = machines.describe(shlex.join(["scripts/bench", *sys.argv[1:]]))
    print(f"{machines.sentence(machine)}\n", flush=True)
    if machine["load_before"] > 0.5:
        print("warning: this machine is busy with something else; the figures will be off\n", flush=True)
    started = time.monotonic()
    variants.folder["blocks"] = tempfile.mkdtemp(prefix="membudget-bench.", dir="/dev/shm")
    try:
        with tempfile.TemporaryDirectory(prefix="membudget-bench.") as options.folder:
            results, problems = measure(options)
    finally:
        shutil.rmtree(variants.folder["blocks"], ignore_errors=True)
    machine["minutes"] = round((time.monotonic() - started) / 60, 1)
    write(machine, results, problems)
    judged = [row for rows in results.values() for row in rows if row.is_met is not None]
    missed = [row for row in judged if not row.is_met]
    print(f"{len(judged) - len(missed)} of {len(judged)} targets met")
    for problem in problems:
        print(f"could not run: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # removes what is temporary
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
