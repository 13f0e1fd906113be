#!/usr/bin/env python3
"""Counts the instructions of one malloc, free, calloc and realloc with callgrind, and checks or records them.

What counts is what the library adds: the instructions of a call under it, less those of the same call of the
same allocator by itself. tests/golden/instructions.txt says what it was; a call that differs by more than the
margin fails, in either direction, so that what was gained is recorded and cannot be lost again unseen.
Calls named "...-profiled" are the same calls while stacks are sampled, between two samples; "...-sampled" are those
whose stack is taken, in a loop.

--members N counts in a group with N other members that have a share of the room, too: the same instructions.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from subprocess import PIPE

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "control" / "python"))

import membudget  # noqa: E402

RECORD = HERE / "instructions.txt"
MARGIN = 1.5  # instructions per call
SHARE = 0.03  # where that is more: what a sample takes depends on where its block is, and on chance
LEAST_PEAK_BYTES = 128 << 20  # of calls.c
PROFILED = ("malloc", "free", "calloc", "realloc")  # counted with profiling on, too
SAMPLED = ("malloc", "free")
FAR_APART, EACH = "1000G", "1"  # of samples: none is taken, every block is
SKIPPED = 77  # the exit status that CTest shows as "Skipped"

# The allocators, by the library that makes them the program's malloc without us.
ALLOCATORS = {
    "ptmalloc": None,
    "jemalloc": "libjemalloc.so.2",
    "mimalloc": "libmimalloc.so.2",
    "tcmalloc": "libtcmalloc_minimal.so.4",
}

# No work that they do by the clock: it would come in one run and not in the next. For both sides.
STEADY = {
    "ptmalloc": {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"},
    "jemalloc": {"MALLOC_CONF": "dirty_decay_ms:-1,muzzy_decay_ms:-1"},
    "mimalloc": {"MIMALLOC_ALLOW_DECOMMIT": "0", "MIMALLOC_PAGE_RESET": "0"},
    "tcmalloc": {},
}

HEADER = f"""\
# Instructions of one call: under the library, of the allocator by itself, and what the library adds.
# 64 bytes unless the name says more; "at-peak" and "growing" have the notes of new peaks in them, "profiled" is while
# stacks are sampled, "sampled" where one is taken, in a loop. The last column is held to within {MARGIN:g} instructions,
# or {SHARE:.0%} (ctest -L golden).
# Recorded by: cmake --build --preset release --target golden_record
# allocator  call             with us  by itself   added
"""


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    build = HERE.parents[1] / "build" / "release"
    parser.add_argument("--library", default=build / "preload" / "libmembudget.so")
    parser.add_argument("--calls", default=build / "tests" / "golden" / "golden_calls")
    parser.add_argument("--record", action="store_true", help="write what was counted into instructions.txt")
    parser.add_argument("--members", type=int, default=0, help="others that live in the group meanwhile")
    parser.add_argument("allocators", nargs="*", metavar="ALLOCATOR", help="some of: " + " ".join(ALLOCATORS))
    options = parser.parse_args()
    if options.record and options.members:
        parser.error("what is recorded is a process by itself, without --members")
    for allocator in options.allocators:
        if allocator not in ALLOCATORS:
            parser.error(f"no such allocator: {allocator}")
    return options


def environment(settings):
    """Nothing of the caller's that an allocator, the loader or the library would read."""
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(("MEMBUDGET_", "LD_", "MALLOC_", "MIMALLOC_", "TCMALLOC_", "GLIBC_", "VALGRIND_"))}
    return {**kept, **{name: value for name, value in settings.items() if value is not None}}


# Starts $1 other members of its group, runs the command, and keeps them until standard input is closed.
BESIDE_OTHERS = """
n=$1; shift
for i in $(seq "$n"); do sleep 1000 & others="$others $!"; done
"$@"; status=$?
read line; kill $others
exit $status
"""


def run_beside(members, command, settings):
    """Runs the command in a group with so many others; fails unless all of them were members to its end."""
    settings = {**settings, "MEMBUDGET_NAME": "golden"}
    with subprocess.Popen(["sh", "-c", BESIDE_OTHERS, "sh", str(members), *command], env=environment(settings),
                          text=True, stdin=PIPE, stdout=PIPE, stderr=PIPE) as shell:
        calls = shell.stdout.readline()
        os.environ["MEMBUDGET_DIR"] = settings["MEMBUDGET_DIR"]
        group = membudget.attach("golden").snapshot()
        output, errors = shell.communicate(timeout=100)
    # The shell is one, too, and the program has been as large as its peak: what it counted was the group's.
    if group.processes != members + 1 or group.peak_live_bytes < LEAST_PEAK_BYTES:
        sys.exit(f"not the group that was meant: {group}")
    return subprocess.CompletedProcess(command, shell.returncode, calls + output, errors)


def count(program, folder, settings, members=0):
    """The instructions per call of each group that the program ran: {group: instructions}."""
    for old in pathlib.Path(folder).glob("callgrind.*"):
        old.unlink()
    command = ["valgrind", "--quiet", "--tool=callgrind", "--collect-atstart=no",
               f"--callgrind-out-file={folder}/callgrind.out", str(program)]
    if members:
        done = run_beside(members, command, settings)
    else:
        done = subprocess.run(command, env=environment(settings), text=True, capture_output=True, check=False,
                              timeout=100)
    # The loader and the library say on standard error when something cannot be preloaded.
    if done.returncode != 0 or done.stderr or not done.stdout.strip().isdigit():
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    calls = int(done.stdout)
    groups = {}
    for dump in pathlib.Path(folder).glob("callgrind.out.*"):
        text = dump.read_text(encoding="utf-8", errors="replace")
        name = re.search(r"^desc: Trigger: Client Request: (\S+)$", text, re.MULTILINE)
        groups[name[1]] = int(re.search(r"^totals: (\d+)$", text, re.MULTILINE)[1]) / calls
    return groups


def measure(options, allocator, folder):
    """[(call, with the library, allocator by itself)], rounded as they are written."""
    blocks = tempfile.mkdtemp(dir=folder)
    settings = {"LD_PRELOAD": os.path.abspath(options.library), "MEMBUDGET_ALLOCATOR": allocator,
                "MEMBUDGET_LIMIT": "16G", "MEMBUDGET_DIR": blocks, **STEADY[allocator]}
    ours = count(options.calls, folder, settings, options.members)
    raw = count(options.calls, folder, {"LD_PRELOAD": ALLOCATORS[allocator], **STEADY[allocator]})
    if not raw or ours.keys() != raw.keys():
        sys.exit(f"{allocator}: not the same groups: {sorted(ours)} and {sorted(raw)}")
    profiled = count(options.calls, folder, {**settings, "MEMBUDGET_PROFILE": FAR_APART}, options.members)
    sampled = count(options.calls, folder, {**settings, "MEMBUDGET_PROFILE": EACH}, options.members)
    return ([(call, round(ours[call], 1), round(raw[call], 1)) for call in program_order(raw)] +
            [(f"{call}-profiled", round(profiled[call], 1), round(raw[call], 1)) for call in PROFILED] +
            [(f"{call}-sampled", round(sampled[call], 1), round(raw[call], 1)) for call in SAMPLED])


def program_order(groups):
    """The groups in the order in which the program has them."""
    source = (HERE / "calls.c").read_text(encoding="utf-8")
    return sorted(groups, key=lambda call: source.index(f'"{call}"'))


def read_record():
    """{allocator: {call: added instructions}} and the lines by allocator."""
    lines = {}
    if RECORD.exists():
        for line in RECORD.read_text(encoding="utf-8").splitlines():
            if line.strip() and not line.startswith("#"):
                lines.setdefault(line.split()[0], []).append(line)
    added = {allocator: {line.split()[1]: float(line.split()[4]) for line in of} for allocator, of in lines.items()}
    return added, lines


def write_record(lines):
    in_order = [allocator for allocator in ALLOCATORS if allocator in lines]
    RECORD.write_text(HEADER + "\n".join("\n".join(lines[allocator]) + "\n" for allocator in in_order),
                      encoding="utf-8")


def check(allocator, rows, recorded, may_shrink):
    """Prints each call beside what is recorded; whether all are within the margin.

    In a group calls may be cheaper: peaks are noted in larger steps the more threads there are.
    """
    good = set(recorded) == {call for call, _, _ in rows}
    if not good:
        print(f"{allocator}: instructions.txt has other calls than these; record them anew")
    for call, ours, raw in rows:
        added, known = round(ours - raw, 1), recorded.get(call)
        verdict, margin = "ok", max(MARGIN, SHARE * (known or 0))
        if known is None:
            verdict = "not recorded"
        elif added > known + margin:
            verdict = f"GREW by {added - known:.1f}"
        elif added < known - margin and not may_shrink:
            verdict = f"SHRANK by {known - added:.1f}: record it, so that it stays"
        good = good and verdict == "ok"
        print(f"{allocator:<10} {call:<16} added {added:6.1f}  recorded {known}  {verdict}")
    return good


def main():
    options = arguments()
    if not shutil.which("valgrind"):
        print("valgrind is not installed: nothing counted")
        return SKIPPED
    recorded, lines = read_record()
    good = True
    with tempfile.TemporaryDirectory(prefix="membudget-golden.") as folder:
        for allocator in options.allocators or ALLOCATORS:
            rows = measure(options, allocator, folder)
            good = check(allocator, rows, recorded.get(allocator, {}), options.members > 0) and good
            lines[allocator] = [f"{allocator:<12} {call:<16} {ours:7.1f} {raw:10.1f} {ours - raw:7.1f}"
                                for call, ours, raw in rows]
    if options.record:
        write_record(lines)
        print(f"recorded in {RECORD}")
        return 0
    if not good:
        print("instructions differ from tests/golden/instructions.txt. If that is meant:\n"
              "  cmake --build --preset release --target golden_record")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
