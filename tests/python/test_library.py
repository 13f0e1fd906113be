"""The package under the preloaded library: this process, forked children, other processes; each allocator.

Fails, and is not skipped, where the library has not been built.
"""

import os
import subprocess
import sys
import time
import unittest

from support import ALLOCATORS, CLI, LIBRARY, PYTHONPATH, BlockTestCase, run_preloaded
import membudget


class OwnBudgetTest(BlockTestCase):
    def test_every_allocator(self):
        for allocator in ALLOCATORS:
            with self.subTest(allocator=allocator):
                run_preloaded(OWN_BUDGET, allocator, LIMIT="64M")

    def test_without_a_limit(self):
        run_preloaded("import membudget\nb = membudget.attach()\nassert b.limit_bytes == 0 and not b.crossed")

    def test_threads(self):
        for allocator in ALLOCATORS:
            with self.subTest(allocator=allocator):
                run_preloaded(THREADS, allocator, LIMIT="64M")

    def test_batch(self):
        for allocator in ALLOCATORS:
            with self.subTest(allocator=allocator):
                run_preloaded(BATCH, allocator, LIMIT="64M")

    def test_forked_children(self):
        for children in ("join", "own", "ignore"):
            with self.subTest(children=children):
                run_preloaded(FORK, LIMIT="64M", CHILDREN=children)

    def test_children_that_are_ignored(self):
        for first in ("membudget.attach()", "pass"):  # whether or not the parent had attached
            with self.subTest(first):
                run_preloaded(IGNORED.format(first=first), LIMIT="64M", CHILDREN="ignore")

    def test_reading_the_level_makes_no_system_call(self):
        run_preloaded(NO_SYSTEM_CALL, LIMIT="64M")

    def test_directory_that_cannot_be_written(self):
        run_preloaded("import membudget; membudget.attach(required=False).level", DIR="/nonexistent", LOG="quiet")


class OtherProcessTest(BlockTestCase):
    def start(self, name, allocator="ptmalloc"):
        environment = {**os.environ, "LD_PRELOAD": LIBRARY, "PYTHONPATH": PYTHONPATH, "MEMBUDGET_LIMIT": "64M"}
        environment.update(MEMBUDGET_NAME=name, MEMBUDGET_ALLOCATOR=allocator)
        process = subprocess.Popen(
            [sys.executable, "-uc", SERVED], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.readline(), "ready\n", f"is {LIBRARY} there?")
        return process

    def ask(self, process, expression):
        process.stdin.write(expression + "\n")
        process.stdin.flush()
        return process.stdout.readline().strip()

    def test_figures(self):
        for allocator in ALLOCATORS:
            with self.subTest(allocator=allocator):
                process = self.start(allocator, allocator)
                own = int(self.ask(process, "budget.live_bytes"))
                for budget in (membudget.attach(process.pid), membudget.attach(allocator)):
                    self.assertAlmostEqual(budget.live_bytes, own, delta=64 * 1024)
                    self.assertEqual(budget.limit_bytes, 64 * 2**20)
                    self.assertEqual(budget.snapshot().allocator, allocator)
                before = budget.live_bytes
                self.ask(process, "held.append(bytes(9 * 2**20))")
                grown = budget.live_bytes - before
                self.assertTrue(8.9 * 2**20 <= grown <= 10.1 * 2**20, grown)  # by the allocator's size classes
                self.assertGreaterEqual(budget.peak_live_bytes, budget.live_bytes)
                process.communicate()

    def test_wait_and_change(self):
        process = self.start("served")
        budget = membudget.attach(process.pid)
        self.assertIs(budget.wait(timeout=0.05), False)
        budget.limit_bytes = 1 << 20
        self.assertIs(budget.level, membudget.Level.CRITICAL)
        self.assertIs(budget.wait(timeout=0), True)
        self.assertEqual(self.ask(process, "(budget.limit_bytes, budget.crossed)"), "(1048576, True)")
        budget.limit_bytes = 64 << 20
        self.assertIs(budget.level, membudget.Level.NONE)
        self.ask(process, "held.append(bytes(70 * 2**20))")
        self.assertIs(budget.wait(timeout=5), True)
        process.communicate()
        with self.assertRaises(ProcessLookupError):
            budget.wait(timeout=5)

    def test_trim(self):
        process = self.start("served")
        budget = membudget.attach(process.pid)
        self.ask(process, "held.extend(bytes(500) for _ in range(100000)) or held.clear()")
        process.stdin.write("spin(2) or 'spun'\n")  # trims at its next allocation
        process.stdin.flush()
        self.assertGreaterEqual(budget.trim(), 0)
        self.assertEqual(process.stdout.readline(), "spun\n")
        process.kill()
        process.wait()
        with self.assertRaises(ProcessLookupError):
            budget.trim()

    def test_killed(self):
        process = self.start("served")
        budget = membudget.attach("served")
        process.kill()
        started = time.monotonic()
        with self.assertRaises(ProcessLookupError):
            budget.wait()
        self.assertLess(time.monotonic() - started, 3)

    def test_under_membudget_run(self):
        code = "import membudget; b = membudget.attach(); print(b.limit_bytes, b.snapshot().name)"
        printed = subprocess.run(
            [CLI, "run", "--limit", "48M", "--name", "by-run", "--", sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": PYTHONPATH}, stdout=subprocess.PIPE, text=True, timeout=60, check=True,
        ).stdout
        self.assertEqual(printed.split(), [str(48 * 2**20), "by-run"])


OWN_BUDGET = """
import membudget
from membudget import Level
budget = membudget.attach()
assert membudget.attach() is budget
limit = 64 * 2**20
assert budget.limit_bytes == limit, budget.limit_bytes
assert budget.level is Level.NONE and not budget.crossed
before, counted = budget.live_bytes, budget.counted_bytes
held = bytes(8 * 2**20)
assert 8 * 2**20 <= budget.live_bytes - before <= 10.1 * 2**20, budget.live_bytes - before  # by size classes
assert budget.counted_bytes - counted >= 8 * 2**20
del held
assert abs(budget.live_bytes - before) < 2**16

seen = []
held = []
while not budget.crossed:
    held.append(bytes(10000))
    if not seen or seen[-1] is not budget.level:
        seen.append(budget.level)
    assert len(held) < 10000, budget
if seen[-1] is not budget.level:  # crossed by one of the loop's own small objects, after the look
    seen.append(budget.level)
assert seen == [Level.NONE, Level.LOW, Level.MEDIUM, Level.CRITICAL], seen
assert limit - 2**20 <= budget.counted_bytes <= limit + 2**20 + 2**16, budget
snapshot = budget.snapshot()
assert snapshot.crossings == 1 and snapshot.last_crossing_counted_bytes >= limit, snapshot
assert snapshot.peak_counted_bytes >= limit - snapshot.peak_error_bytes, snapshot
assert snapshot.counted_bytes == snapshot.live_bytes + snapshot.mapped_bytes
assert snapshot.allocations > snapshot.frees > 0
held.clear()
assert budget.level is Level.NONE, budget
assert budget.trim() >= 0
budget.limit_bytes = 2**20
assert budget.crossed and budget.limit_bytes == 2**20
budget.limit_bytes = 0
assert budget.level is Level.NONE and budget.limit_bytes == 0
"""

THREADS = """
import threading, membudget
budget = membudget.attach()
before = budget.live_bytes
held = [None] * 8
def fill(index):
    held[index] = [bytearray(1000) for _ in range(2000)]
def free(index):
    held[index] = None
for work in (fill, free):
    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    grown = budget.live_bytes - before
    assert (grown > 8 * 2000 * 1000) == (work is fill), (work, grown)
assert abs(grown) < 2**18, grown
waiting = threading.Thread(target=lambda: held.append(budget.wait(timeout=20)))
waiting.start()
ballast = [bytes(10000) for _ in range(7000)]
waiting.join()
assert held[-1] is True
"""

BATCH = """
import membudget
budget = membudget.attach()
sizes = []
def process(items):
    assert budget.crossed or inserted == 30000, budget
    sizes.append(len(items))
with membudget.Batch(process) as batch:
    for inserted in range(1, 30001):
        batch[inserted] = bytes(8000)
assert sum(sizes) == 30000 and 3 <= len(sizes) <= 6, sizes
assert min(sizes[:-1]) > 0.8 * max(sizes), sizes
assert not budget.crossed
assert budget.peak_counted_bytes < 1.03 * budget.limit_bytes, budget.snapshot()
"""

FORK = """
import os, membudget
budget = membudget.attach()
children = os.environ["MEMBUDGET_CHILDREN"]
held = bytes(10 * 2**20)
read_end, write_end = os.pipe()
def in_child():
    if children == "ignore":
        assert budget.live_bytes == 0 and budget.level == 0
        return
    assert membudget.attach() is budget
    snapshot = budget.snapshot()
    assert snapshot.pid == os.getpid(), snapshot
    assert snapshot.limit_bytes == 64 * 2**20
    before = budget.live_bytes
    more = bytes(20 * 2**20)
    assert 20 * 2**20 <= budget.live_bytes - before <= 25 * 2**20
    still_more = bytes(50 * 2**20)
    assert budget.crossed
    os.write(write_end, b"crossed" if children == "own" else b"both")
    os.read(go_on, 1)
    del more, still_more
    assert not budget.crossed
go_on, tell = os.pipe()
before = budget.live_bytes
child = os.fork()
if child == 0:
    status = 1
    try:
        in_child()
        status = 0
    finally:
        os._exit(status)
if children != "ignore":
    told = os.read(read_end, 7)
    assert budget.crossed is (told == b"both"), (told, budget)
    assert abs(budget.live_bytes - before) < 2**18
    os.write(tell, b"x")
assert os.waitpid(child, 0)[1] == 0
assert not budget.crossed
"""

IGNORED = """
import os, membudget
{first}
child = os.fork()
if child == 0:
    status = 1
    try:
        membudget.attach()
    except membudget.NotAttached as error:
        told = str(error)
        without = membudget.attach(required=False)
        status = 0 if "MEMBUDGET_CHILDREN=ignore" in told and "membudget run" not in told and not without.crossed else 2
    finally:
        os._exit(status)
assert os.waitpid(child, 0)[1] == 0
"""

# In the strict mode of seccomp any system call but read, write and exit kills.
NO_SYSTEM_CALL = """
import ctypes, membudget, platform
budget = membudget.attach()
budget.level
libc = ctypes.CDLL(None)
PR_SET_SECCOMP, STRICT = 22, 1
SYS_exit = {"x86_64": 60, "aarch64": 93}[platform.machine()]
assert libc.prctl(PR_SET_SECCOMP, STRICT, 0, 0, 0) == 0
for _ in range(1000):
    level = budget.level
libc.syscall(SYS_exit, 0 if level == 0 and not budget.crossed else 1)
"""

SERVED = """
import membudget, sys, time
budget = membudget.attach()
held = []
def spin(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        bytes(5000)
print("ready")
for line in sys.stdin:
    print(eval(line))
"""


if __name__ == "__main__":
    unittest.main()
