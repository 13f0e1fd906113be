"""In a real memory cgroup: filled to the brim, flushed in time, never killed. Shown as skipped where none can be made."""

import glob
import os
import subprocess
import sys
import tempfile
import time

import harness

BENCH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../scripts/cgroup_bench")
sys.path.insert(0, BENCH)
from cgroup import Cgroup, Unavailable  # noqa: E402

PYTHON_PACKAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../control/python")
MIB = 1 << 20
LIMIT = 96 * MIB

PRELUDE = """
import ctypes, os, sys
sys.path.insert(0, os.environ["TEST_PACKAGE"])
import membudget
budget = membudget.attach()
library = ctypes.CDLL(None)
library.membudget_preload_set_reserve.argtypes = [ctypes.c_int64]
def say(*values): print(*values, flush=True)
"""

# Fills, flushes and fills again. Processing takes memory, too.
BATCHES = PRELUDE + """
library.membudget_preload_set_reserve(-1)
buffer, sizes, peak = {}, [], 0
i = 0
while len(sizes) < 6:
    buffer[i] = os.urandom(200 + i * 7919 % 9000)
    i += 1
    if budget.crossed:
        library.membudget_preload_flush_begins()
        sizes.append(len(buffer))
        joined = b"".join(list(buffer.values())[:len(buffer) // 40])
        del joined
        buffer.clear()
        library.membudget_preload_flush_ends()
say(min(sizes), max(sizes), budget.level.name, budget._view.header().peak_footprint_bytes)
"""

# One block that does not fit any more, then one that does after the buffer has gone.
TOO_MUCH = PRELUDE + """
buffer = []
while not budget.crossed:
    buffer.append(os.urandom(5000))
refused = False
try:
    large = bytes(60 << 20)
except MemoryError:
    refused = True
buffer.clear()
large = b"x" * (60 << 20)
say(refused, len(large) >> 20)
"""

# The same after a flush for which the level was no reason: a block was refused, or the batch was old.
FLUSHED_EARLY = PRELUDE + """
sizes = [200 + i * 7919 % 9000 for i in range(2000)]
with membudget.Batch(lambda items: items.clear()) as batch:
    for i in range(28000):
        batch[i * 31 % 14000] = os.urandom(sizes[i % 2000])
    say(budget.level.name)
    batch.flush()
    large = batch.guard(bytes, 60 << 20)
    say(len(large) >> 20)
"""

# Follows the cgroup's limit, which the test moves when it is told to.
FOLLOWS = PRELUDE + """
say(budget.limit_bytes, budget.level.name)
sys.stdin.readline()
some = [os.urandom(5000) for _ in range(6000)]
say(budget.limit_bytes, budget.level.name)
"""


class RealCgroup(harness.Case):
    def setUp(self):
        super().setUp()
        try:
            self.group = Cgroup(LIMIT, f"membudget-test-{os.getpid()}-{self._testMethodName}")
        except Unavailable as error:
            self.skipTest(str(error))
        self.addCleanup(self.group.__exit__)

    def start(self, program, allocator="ptmalloc", **settings):
        environment = harness.preloaded(self.blocks, MEMBUDGET_ALLOCATOR=allocator, TEST_PACKAGE=PYTHON_PACKAGE, **settings)
        return subprocess.Popen(["python3", "-c", program], env=environment, preexec_fn=self.group.enter,
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def finish(self, process):
        output, errors = process.communicate(timeout=120)
        self.assertEqual(self.group.kills(), 0, "the kernel had to kill")
        self.assertEqual((process.returncode, errors), (0, ""))
        return output.split()

    def check_batches(self, allocator, objects):
        process = self.start(BATCHES, allocator, MEMBUDGET_LIMIT="100%", MEMBUDGET_HARD_LIMIT="99%", MEMBUDGET_PYTHONMALLOC=objects)
        smallest, largest, level, peak = self.finish(process)
        self.assertEqual(level, "NONE")
        self.assertGreater(int(smallest), int(largest) // 2, "a batch shrank: the level did not clear")
        self.assertGreater(int(peak), 0.85 * LIMIT)
        self.assertLessEqual(int(peak), LIMIT)

    def test_ptmalloc_batches(self):
        self.check_batches("ptmalloc", "keep")
        self.check_batches("ptmalloc", "malloc")

    def test_jemalloc_batches(self):
        self.check_batches("jemalloc", "malloc")

    def test_mimalloc_batches(self):
        self.check_batches("mimalloc", "malloc")

    def test_tcmalloc_batches(self):
        self.check_batches("tcmalloc", "malloc")

    def test_a_large_block_is_refused_and_nobody_killed(self):
        for allocator in ("ptmalloc", "jemalloc", "mimalloc", "tcmalloc"):
            with self.subTest(allocator):
                process = self.start(TOO_MUCH, allocator, MEMBUDGET_LIMIT="90%", MEMBUDGET_HARD_LIMIT="97%")
                self.assertEqual(self.finish(process), ["True", "60"])

    def test_a_flush_makes_room_whatever_the_level(self):
        for allocator in ("ptmalloc", "jemalloc", "mimalloc", "tcmalloc"):
            with self.subTest(allocator):
                process = self.start(FLUSHED_EARLY, allocator, MEMBUDGET_LIMIT="100%", MEMBUDGET_HARD_LIMIT="97%")
                self.assertEqual(self.finish(process), ["NONE", "60"])

    def test_the_limit_follows_the_cgroup(self):
        process = self.start(FOLLOWS, MEMBUDGET_LIMIT="50%")
        self.assertEqual(process.stdout.readline().split(), [str(LIMIT // 2), "NONE"])
        self.group.write("memory.limit_in_bytes" if self.group.version == 1 else "memory.max", LIMIT // 2)
        process.stdin.write("\n")
        self.assertEqual(self.finish(process), [str(LIMIT // 4), "CRITICAL"])

    def test_a_bench_that_is_terminated_leaves_nothing(self):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, os.path.join(BENCH, "main.py"), "--workers=1", "--mix=20K", "--strategy=count:20000",
                       "--events=40000", f"--results={folder}"]
            bench = subprocess.Popen(command, env={**os.environ, "TMPDIR": folder}, stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE, text=True)
            groups = f"{os.path.dirname(self.group.folder)}/membudget-bench-{bench.pid}-*"
            deadline = time.monotonic() + 60
            while not glob.glob(groups):
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.01)
            bench.terminate()
            _, errors = bench.communicate(timeout=120)
            self.assertIn("bench-cgroup: interrupted", errors)
            self.assertEqual(glob.glob(groups) + glob.glob(f"{folder}/membudget-*"), [])


if __name__ == "__main__":
    harness.main()
