#!/usr/bin/env python3
"""Runs one test program under the preloaded library, or plain, and judges it.

The program passes when it exits with 0, ends its standard output with "ok: N checks" (so a program that
left early has not passed), and neither it nor the library wrote anything to standard error. Its shared
blocks live in a folder of its own, which is removed.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

SUCCESS = re.compile(rb"(?:^|\n)ok: ([1-9][0-9]*) checks\n\Z")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", help="libmembudget.so; left out, the program runs plain")
    parser.add_argument("--allocator", help="MEMBUDGET_ALLOCATOR, and what the program expects to find")
    parser.add_argument("--front", help="another library, preloaded in front of it")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--expect-failure", metavar="TEXT",
                        help="passes only when the program fails, with TEXT on standard error")
    parser.add_argument("--allow-errors", metavar="REGEX",
                        help="lines on standard error that are the allocator's own affair")
    parser.add_argument("--timeout", type=float, default=240)
    parser.add_argument("command", nargs="+")
    return parser.parse_args()


def environment(options, folder):
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MEMBUDGET_", "LD_"))}
    env["MEMBUDGET_DIR"] = folder
    preload = [library for library in (options.front, options.library) if library]
    if options.library:
        env["MEMBUDGET_ALLOCATOR"] = options.allocator
        env["TEST_ALLOCATOR"] = options.allocator
    env.update(setting.split("=", 1) for setting in options.env)
    if preload:
        env["LD_PRELOAD"] = ":".join(preload)
    return env


def run(options, folder):
    """Runs the program in a session of its own, so that nothing it started outlives it."""
    process = subprocess.Popen(options.command, env=environment(options, folder), stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    try:
        output, errors = process.communicate(timeout=options.timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, errors = process.communicate()
        errors += b"killed: not done after %d s\n" % options.timeout
    return process.returncode, output, errors


def problem(options, status, output, errors):
    """What is wrong with the run, or None."""
    if options.expect_failure:
        if status == 0:
            return "it passed, but has to fail"
        if options.expect_failure.encode() not in errors:
            return f"it failed, but not with: {options.expect_failure}"
        return None
    if status < 0:
        return f"it was ended by {signal.Signals(-status).name}"
    if status != 0:
        return f"it exited with {status}"
    if not SUCCESS.search(output):
        return "its output does not end with the number of checks"
    if not all(options.allow_errors and re.search(options.allow_errors, line)
               for line in errors.decode(errors="replace").splitlines()):
        return "it wrote to standard error"
    return None


def main():
    options = arguments()
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = tempfile.mkdtemp(prefix="membudget-test.", dir=shared)
    try:
        status, output, errors = run(options, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.write(output.decode(errors="replace") + errors.decode(errors="replace"))
    wrong = problem(options, status, output, errors)
    if wrong:
        print(f"FAILED: {' '.join(options.command)}: {wrong}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
