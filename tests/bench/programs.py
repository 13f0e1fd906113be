"""Whole programs: a Python job, g++, sqlite3, by CPU time and by the clock, or by instructions, which no other load on
the machine disturbs. (redis: see redis_server.py.)"""

import argparse
import os
import re

import inputs
import variants
from figures import RATIO, Row, interleaved
from process import CPU_S, WALL_S, Failure, run

INSTRUCTIONS = "instructions"
TARGET = 1.02
TARGET_PYTHON_DEFAULTS = {"ptmalloc": 1.05, "mimalloc": 1.05, "tcmalloc": 1.05}
PYTHON = "/usr/bin/python3"
JOB = variants.REPOSITORY / "tests" / "bench" / "json_job.py"


def timed(command, settings, input_file=None):
    """A function that runs a command once and gives its times."""
    def once():
        done = run(command, settings, input_file=input_file)
        return {CPU_S: done.cpu_s, WALL_S: done.wall_s}
    return once


def counted(command, settings, input_file=None):
    """The same, by the instructions that it and its children execute, in user space."""
    counter = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null",
               "--trace-children=yes"]

    def once():
        counts = re.findall(r"I\s+refs:\s+([\d,]+)", run([*counter, *command], settings, input_file=input_file).errors)
        if not counts:
            raise Failure("valgrind counted nothing")
        return {INSTRUCTIONS: sum(int(count.replace(",", "")) for count in counts)}
    return once


def by_instructions(work):
    """A work of this file, by instructions: one run, of a small part of it, says it all."""
    return lambda allocator, options: work(
        allocator, argparse.Namespace(**{**vars(options), "take": counted, "program_runs": 1, "scale": 0.2}))


def rows_of(label, allocator, base, ours, target, options):
    """[Row] for each figure of a program, under `base` and under `ours`: (name, function)."""
    results = interleaved(dict((base, ours)), options.program_runs)
    of_base = results[base[0]]
    return [Row(label, allocator, metric, "" if metric == INSTRUCTIONS else "s", RATIO, of_ours, of_base[metric], target)
            for metric, of_ours in results[ours[0]].items()]


def against_raw(label, allocator, command, options, input_file=None, **settings):
    """A command under the allocator by itself and under membudget, with `settings` for both."""
    return rows_of(label, allocator,
                   ("raw", options.take(command, {**variants.raw(allocator), **settings}, input_file)),
                   ("membudget", options.take(command, variants.ours(allocator, **settings), input_file)), TARGET, options)


def python_command(options):
    return [PYTHON, "-X", "utf8", JOB, options.scale]


def python_arenas(allocator, options):
    """CPython's small objects in its own arenas, on both sides."""
    hashes = {"PYTHONHASHSEED": "0"}
    command = python_command(options)
    return rows_of("python, small objects in arenas", allocator,
                   ("raw", options.take(command, {**variants.raw(allocator), **hashes})),
                   ("membudget",
                    options.take(command, variants.ours(allocator, MEMBUDGET_PYTHONMALLOC="keep", **hashes))),
                   TARGET, options)


def python_malloc(allocator, options):
    """CPython's small objects from malloc, on both sides."""
    return against_raw("python, small objects from malloc", allocator, python_command(options), options,
                       PYTHONMALLOC="malloc", PYTHONHASHSEED="0")


def python_defaults(allocator, options):
    """The library's defaults against the interpreter as Debian has it."""
    command, hashes = python_command(options), {"PYTHONHASHSEED": "0"}
    return rows_of("python, defaults against plain python3", allocator,
                   ("plain python3", options.take(command, {**variants.plain(), **hashes})),
                   ("membudget", options.take(command, variants.ours(allocator, **hashes))),
                   TARGET_PYTHON_DEFAULTS.get(allocator), options)


def compiler(allocator, options):
    """g++ -O1 of one large file."""
    source = os.path.join(options.folder, "large.cc")
    inputs.write_cpp(source, options.scale)
    return against_raw("g++ -O1", allocator, ["g++", "-std=c++20", "-O1", "-c", "-o", os.devnull, source], options)


def sqlite(allocator, options):
    """A bulk insert into a database in memory."""
    script = os.path.join(options.folder, "bulk.sql")
    inputs.write_sql(script, options.scale)
    return against_raw("sqlite3 bulk insert", allocator, ["sqlite3", "-batch", ":memory:"], options, input_file=script)
