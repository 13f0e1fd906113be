"""Every system call that the library makes is made to fail: the program does the same as ever, and ends the same.

The calls are found by watching (inject.c), so that a new one is covered: from each place in the code that makes one, one
is made to fail, with some error. With each error: scripts/faults."""

import collections
import errno
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
import harness  # noqa: E402

HOST = os.environ["TEST_HOST"]
INJECT = os.environ["TEST_INJECT"]
LIBRARY = os.path.realpath(harness.LIBRARY)
ALL = bool(os.environ.get("TEST_ALL_FAULTS"))
ALLOCATORS = ("ptmalloc", "jemalloc", "mimalloc", "tcmalloc")
# For one call. EINTR is not for every call of a kind: whoever gets it may try again for ever.
ERRORS = ("ENOSYS", "EPERM", "ENOMEM", "EINTR", "EMFILE", "ENOSPC", "EIO", "EAGAIN")
LASTING = ("ENOSYS", "EPERM", "ENOMEM", "EMFILE", "ENOSPC")
Call = collections.namedtuple("Call", "order number has_failed site")


class Injection(unittest.TestCase):
    profiled = False

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="membudget-inject.", dir="/dev/shm")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.log = os.path.join(self.folder, "log")
        self.profiles = os.path.join(self.folder, "profiles")
        os.mkdir(self.profiles)

    def run_host(self, allocator, call=0, error=0):
        """(exit status, output, errors, calls)."""
        environment = dict(harness.CLEAN, INJECT_PRELOAD=LIBRARY, MEMBUDGET_DIR=self.folder, MEMBUDGET_LIMIT="16M",
                           MEMBUDGET_MEASURE="footprint", MEMBUDGET_ALLOCATOR=allocator)
        if self.profiled:
            environment.update(MEMBUDGET_PROFILE="512K", MEMBUDGET_PROFILE_DIR=self.profiles)
        command = [INJECT, LIBRARY, self.log, str(call), str(error), HOST, "2"]
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=120, check=False, text=True)
        with open(self.log, encoding="utf-8") as log:
            calls = [Call(*map(int, line.split())) for line in log]
        return done.returncode, done.stdout, done.stderr, calls

    def check(self, allocator, call, error):
        """Whether the fault came about: threads may make more calls in one run than in another."""
        status, output, errors, calls = self.run_host(allocator, call, getattr(errno, error))
        failed = [c.number for c in calls if c.has_failed]
        what = f"{allocator}: {error} at {call}, system call {failed[:1]}: {errors}"
        self.assertEqual((status, output), (7, "step 2\nstep 1\n"), what)
        lines = errors.splitlines()
        self.assertTrue(all(line.startswith("membudget: ") for line in lines), what)
        self.assertLessEqual(len(lines), 4, what)  # of four processes at most
        return bool(failed)

    def calls_of(self, allocator):
        status, output, errors, calls = self.run_host(allocator)
        if status == 125:
            self.skipTest(f"no program can be traced here: {errors}")
        self.assertEqual((status, output, errors), (7, "step 2\nstep 1\n", ""))
        self.assertGreater(len(calls), 50, "the library makes more calls than that: they were not recognised")
        return calls

    def faults(self, calls, turn):
        """What to do in a run, pairs of a call and an error: from each place in the code a call is made to fail once,
        and every call of a kind together. In CI a part of that, another for each allocator."""
        places = {}
        for call in calls:
            first, _ = places.get(call.site, (call.order, None))
            places[call.site] = (first, call.order)
        kinds = sorted({call.number for call in calls})
        if ALL:
            single = [(order, error) for ends in places.values() for order in sorted(set(ends)) for error in ERRORS]
            return single + [(-kind, error) for kind in kinds for error in LASTING]
        some, few = (2, 1) if turn == 0 else (6, 4)
        single = [first for first, _ in places.values()][turn % some::some]
        lasting = [-kind for kind in kinds][turn % few::few]
        return ([(call, ERRORS[(turn + i) % len(ERRORS)]) for i, call in enumerate(single)] +
                [(call, LASTING[(turn + i) % len(LASTING)]) for i, call in enumerate(lasting)])

    def sweep(self, allocator, turn):
        calls = self.calls_of(allocator)
        faults = self.faults(calls, turn)
        came_about = sum(self.check(allocator, call, error) for call, error in faults)
        print(f"{len(calls)} calls from {len({c.site for c in calls})} places; {came_about} of {len(faults)} faults",
              file=sys.stderr)
        self.assertGreater(came_about, len(faults) // 2)


def add(allocator, turn):
    setattr(Injection, f"test_{allocator}", lambda self: self.sweep(allocator, turn))


for place, name in enumerate(ALLOCATORS):
    add(name, place)


def profiled(self):
    """Another library is loaded, stacks are taken, files written."""
    self.profiled = True
    self.sweep("ptmalloc", len(ALLOCATORS))


Injection.test_profiled = profiled

if __name__ == "__main__":
    harness.main()
