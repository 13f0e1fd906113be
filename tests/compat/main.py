#!/usr/bin/env python3
"""Runs real programs' own tests and loads under libmembudget.so, on each allocator and with a budget set, and
compares them with the same run without the library: output, errors, exit status. Of the shared blocks it checks
that no process's live or mapped bytes were ever seen negative, that no setting was complained of, that the
programs were counted at all, and that nothing stays behind. A budget of 32 MiB is crossed by most of them.

A program that is not installed, or cannot run here, is skipped by name. Exit status: 0 when nothing broke, else 1.
"""

import argparse
import datetime
import platform
import subprocess
import sys
import time

from program import all_programs
from runner import Runner, judge

ALLOCATORS = ("ptmalloc", "jemalloc", "mimalloc", "tcmalloc")


def arguments():
    names = [program.name for program in all_programs()]
    parser = argparse.ArgumentParser(prog="scripts/compat", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", nargs="*", metavar="PROGRAM", help="all of them by default: " + ", ".join(names))
    parser.add_argument("--allocators", default=",".join(ALLOCATORS), metavar="A,B", help="(default: %(default)s)")
    parser.add_argument("--limit", default="32M", help="the budget (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="only those that CTest runs, too")
    parser.add_argument("--list", action="store_true", help="list the programs and whether they are here, run nothing")
    parser.add_argument("--install", action="store_true",
                        help="first install, by apt, what the chosen programs need and is missing")
    parser.add_argument("--library", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--table", metavar="FILE", help="write the table there, as Markdown")
    parser.add_argument("--keep", action="store_true", help="keep the folders that the programs ran in")
    options = parser.parse_args()
    for name in options.programs:
        if name not in names:
            parser.error(f"no program {name}; there are {', '.join(names)}")
    options.allocators = options.allocators.split(",")
    return options


def chosen(options):
    return [program for program in all_programs()
            if (not options.programs or program.name in options.programs) and (program.is_quick or not options.quick)]


def install(programs):
    packages = sorted({package for program in programs if program.missing() for package in program.words("packages")})
    if packages:
        subprocess.run(["apt-get", "install", "-y", "--no-install-recommends", *packages], check=True)


def say(text, end="\n"):
    print(text, end=end, flush=True)


class Row:
    """What became of one program: a cell for each allocator."""

    def __init__(self, program):
        self.program = program
        self.cells = {}
        self.problems = {}
        self.skipped = ""
        self.seconds = {}


def run_program(runner, program, allocators):
    row = Row(program)
    missing = program.missing()
    if missing:
        row.skipped = f"missing: {' '.join(missing)}"
        say(f"{program.name}: skipped, {row.skipped}")
        return row
    plain = runner.run(program)
    row.seconds["plain"] = plain.seconds
    if plain.is_skipped:
        row.skipped = (plain.errors.strip().splitlines() or ["cannot run here"])[-1]
        say(f"{program.name}: skipped, {row.skipped}")
        return row
    say(f"{program.name}: plain {plain.seconds:.1f} s", end="")
    if plain.status != 0 or plain.problems:
        row.problems["plain"] = plain.problems or [f"exit status {plain.status}: {plain.errors.strip()[-600:]}"]
    for allocator in allocators:
        under = runner.run(program, allocator)
        judge(program, plain, under)
        row.seconds[allocator] = under.seconds
        row.cells[allocator] = "fails" if under.problems else "same"
        if under.problems:
            row.problems[allocator] = under.problems
        say(f", {allocator} {row.cells[allocator]} {under.seconds:.1f} s", end="")
    say("")
    for variant, problems in row.problems.items():
        for problem in problems:
            say(f"  {program.name}, {variant}: {problem}")
    return row


def table(rows, options, begun):
    system = platform.freedesktop_os_release().get("PRETTY_NAME", "") if sys.version_info >= (3, 10) else ""
    lines = ["# Compatibility", "",
             "What `scripts/compat` found (see README.md): `same` is the same output, errors and exit status as without the",
             "library, counts that were never seen below zero, and nothing left behind. The commands are in `programs/`.", "",
             f"{datetime.date.today()}, {system}, Linux {platform.release()}, {' '.join(platform.libc_ver())}, "
             f"{platform.machine()}; a budget of {options.limit}; {(time.monotonic() - begun) / 60:.0f} minutes.", "",
             f"| program | version | {' | '.join(options.allocators)} | remarks |",
             f"| --- | --- | {' | '.join('---' for _ in options.allocators)} | --- |"]
    for row in rows:
        cells = [row.cells.get(allocator, "skipped") for allocator in options.allocators]
        remarks = " ".join(filter(None, [row.skipped, row.program.note]))
        version = "" if row.program.missing() else row.program.version()
        lines.append(f"| `{row.program.name}`: {row.program.title} | {version} | {' | '.join(cells)} | {remarks} |")
    return "\n".join(lines) + "\n"


def main():
    options = arguments()
    programs = chosen(options)
    if options.install:
        install(programs)
    if options.list:
        for program in programs:
            missing = program.missing()
            print(f"{program.name:14} {'missing: ' + ' '.join(missing) if missing else 'here':28} {program.title}")
        return 0
    begun = time.monotonic()
    with Runner(options.library, options.limit, options.keep) as runner:
        rows = [run_program(runner, program, options.allocators) for program in programs]
        if options.keep:
            say(f"kept: {runner.folder}")
    if options.table:
        with open(options.table, "w", encoding="utf-8") as file:
            file.write(table(rows, options, begun))
    failed = [row.program.name for row in rows if row.problems]
    skipped = [row.program.name for row in rows if row.skipped]
    say(f"{len(rows) - len(failed) - len(skipped)} programs are the same; "
        f"different: {' '.join(failed) or 'none'}; skipped: {' '.join(skipped) or 'none'}")
    if rows and len(skipped) == len(rows):
        return 77
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
