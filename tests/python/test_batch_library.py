"""Batch and AsyncBatch under `membudget run`: real counts, a real hard limit, real signals; each allocator."""

import os
import subprocess
import sys
import unittest

from support import ALLOCATORS, CLI, PYTHONPATH, BlockTestCase


class LibraryTest(BlockTestCase):
    def run_under(self, code, *options, allocator="ptmalloc", status=0):
        """Runs Python code under the library; returns what it printed."""
        command = [CLI, "run", "--limit", "48M", "--allocator", allocator, *options, "--", sys.executable, "-c"]
        environment = {**os.environ, "PYTHONPATH": PYTHONPATH}
        environment.pop("PYTHONMALLOC", None)
        done = subprocess.run(
            [*command, PRELUDE + code], env=environment, timeout=60, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.assertEqual((done.returncode, done.stderr), (status, ""), f"{done.stdout}\n{done.stderr}")
        return done.stdout

    def each_allocator(self, code, *options, **settings):
        for allocator in ALLOCATORS:
            with self.subTest(allocator=allocator):
                self.run_under(code, *options, allocator=allocator, **settings)

    def test_large_payload_into_a_full_buffer(self):
        self.each_allocator(LARGE_PAYLOAD, "--hard-limit", "80M")

    def test_large_payload_into_a_full_group(self):
        self.run_under(LARGE_PAYLOAD_IN_A_GROUP, "--hard-limit", "80M", "--name", "full")

    def test_large_payloads_of_a_whole_group(self):
        self.run_under(LARGE_PAYLOADS_OF_A_GROUP, "--hard-limit", "60M")

    def test_figures_of_a_group_without_a_name(self):
        self.run_under(FIGURES_OF_A_GROUP, "--hard-limit", "80M")

    def test_memory_error_of_an_insertion(self):
        self.run_under(LARGE_TABLE, "--hard-limit", "50M")

    def test_threads(self):
        self.each_allocator(THREADS)

    def test_asyncio(self):
        self.run_under(ASYNCIO, "--hard-limit", "80M")

    def test_own_loop(self):
        self.run_under(OWN_LOOP)

    def test_sigterm(self):
        for code in (SIGTERM, SIGTERM_ASYNC):
            self.assertEqual(self.run_under(code, status=143), "12345\n")

    def test_exceptions(self):
        self.run_under(EXCEPTIONS)


PRELUDE = """
import membudget
budget = membudget.attach()
MIB = 2**20
sizes = []
def process(items):
    sizes.append(len(items))
"""

LARGE_PAYLOAD = """
with membudget.Batch(process) as batch:
    while budget.counted_bytes < 46 * MIB:
        batch[len(batch)] = bytes(10_000)
    full = len(batch)
    assert full > 2000 and not sizes
    try:
        bytes(60 * MIB)
        raise SystemExit("the hard limit is none")
    except MemoryError:
        pass
    batch["large"] = batch.guard(bytes, 60 * MIB)
    assert sizes == [full, 1], sizes
    batch["next"] = 1
    assert not budget.crossed
assert sizes == [full, 1, 1]
assert budget.peak_counted_bytes <= 81 * MIB, budget.snapshot()
"""

# What does not fit beside what another process of the group holds, until that flushes, too.
LARGE_PAYLOAD_IN_A_GROUP = """
import os, signal, time
child = os.fork()
if child == 0:
    with membudget.Batch(process) as batch:
        while True:
            batch[len(batch)] = bytes(1 << 20)
            time.sleep(0.005)
group = membudget.attach("full")
try:
    with membudget.Batch(process) as batch:
        while group.counted_bytes < 30 * MIB:
            time.sleep(0.001)
        batch["large"] = batch.guard(bytes, 50 * MIB)
finally:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
assert sizes == [1], sizes
"""

# Its name is the pid of its first process.
FIGURES_OF_A_GROUP = """
import os, re
from unittest import mock
def process(items): sizes.append(len(items))
held = bytes(10 * MIB)
if os.fork() == 0:
    more = bytes(20 * MIB)
    try:
        with mock.patch("membudget._retry._MOST_LOOKS", 1), membudget.Batch(process) as batch:
            batch.guard(bytes, 500 * MIB)
    except MemoryError as error:
        figures = re.search("; ([0-9,]+) bytes are counted in this process, ([0-9,]+) in all", str(error)).groups()
        own, group = (int(figure.replace(",", "")) for figure in figures)
        os._exit(0 if own > 29 * MIB and group >= own else 2)
    os._exit(1)
assert os.wait()[1] == 0
"""

# Each of four processes needs most of the memory at once, in two pieces.
# Each takes its time between the two halves: who tries while another does gets one half, and spoils both. By turns
# only first tries do so, three by each of the others.
LARGE_PAYLOADS_OF_A_GROUP = """
import os, time
spoiled = 0
def read():
    global spoiled
    line = bytes(20 * MIB)
    spoiled += 1
    time.sleep(0.15)
    text = str(line, "ascii")
    spoiled -= 1
    return text
children = []
for _ in range(4):
    child = os.fork()
    if child == 0:
        with membudget.Batch(process) as batch:
            for key in range(3):
                batch[key] = batch.guard(read)
        os._exit(0 if sum(sizes) == 3 and spoiled <= 20 else 1)
    children.append(child)
assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
"""

# The dict's table is what is refused: it doubles while the payloads stay small.
LARGE_TABLE = """
ballast = bytes(24 * MIB)
budget.limit_bytes = 0
with membudget.Batch(process) as batch:
    for key in range(1_200_000):
        batch[key] = None
assert len(sizes) >= 2 and sum(sizes) == 1_200_000, sizes
"""

THREADS = """
import threading
lock = threading.Lock()
inserted = [0] * 4
errors = []
def fill(thread):
    try:
        for number in range(6000):
            batch[thread, number] = bytes(3000)
            inserted[thread] += 1
    except BaseException as error:
        errors.append(error)
keys = set()
def process(items):
    assert lock.acquire(blocking=False)
    sizes.append(len(items))
    keys.update(items)
    items.clear()
    lock.release()
with membudget.Batch(process) as batch:
    threads = [threading.Thread(target=fill, args=(i,)) for i in range(4)]
    [thread.start() for thread in threads]
    [thread.join(50) for thread in threads]
    assert not errors and inserted == [6000] * 4, (errors, inserted)
assert sum(sizes) == len(keys) == 24_000, (sizes, len(keys))
assert 2 <= len(sizes) <= 8, sizes
assert budget.peak_counted_bytes < 50 * MIB, budget.snapshot()
"""

ASYNCIO = """
import asyncio
async def process_async(items):
    await asyncio.sleep(0.001)
    process(items)
async def fill(batch, task):
    for number in range(3000):
        await batch.add((task, number), bytes(6000))
        if number % 50 == 0:
            await asyncio.sleep(0)
async def main():
    async with membudget.AsyncBatch(process_async) as batch:
        await asyncio.gather(*(fill(batch, task) for task in range(4)))
        assert sum(sizes) + len(batch) == 12_000 and len(sizes) >= 1, sizes
        before = len(sizes)
        while budget.counted_bytes < 46 * MIB:
            await batch.add(object(), bytes(10_000))
        await batch.add("large", await batch.guard(bytes, 60 * MIB))
        assert sizes[-1] == 1, sizes
asyncio.run(main())
assert budget.peak_counted_bytes <= 81 * MIB, budget.snapshot()
"""

OWN_LOOP = """
batch = membudget.Batch(max_age=3600)
for key in range(20_000):
    batch[key] = bytes(6000)
    if batch.due:
        assert budget.crossed and batch.due_in == 0
        with batch.drain() as items:
            process(items)
        assert not budget.crossed and not batch.due
assert 3590 < batch.due_in <= 3600
assert 2 <= len(sizes) <= 4 and sum(sizes) + len(batch) == 20_000, sizes
"""

SIGTERM = """
import os, signal
def write(items):
    process(items)
    if key == 12_344:
        print(sum(sizes))
with membudget.Batch(write) as batch:
    for key in range(20_000):
        batch[key] = bytes(6000)
        if key == 12_344:
            os.kill(os.getpid(), signal.SIGTERM)
"""

SIGTERM_ASYNC = """
import asyncio, os, signal
async def write(items):
    process(items)
async def main():
    async with membudget.AsyncBatch(write) as batch:
        for key in range(12_345):
            await batch.add(key, bytes(6000))
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(30)
try:
    asyncio.run(main())
finally:
    print(sum(sizes))
"""

EXCEPTIONS = """
failures = 0
def flaky(items):
    global failures
    if failures < 3:
        failures += 1
        raise OSError("disk full")
    process(items)
raised = 0
with membudget.Batch(flaky) as batch:
    for key in range(20_000):
        try:
            batch[key] = bytes(6000)
        except OSError:
            raised += 1
            assert key in batch
assert raised == failures == 3
assert sum(sizes) == 20_000 and len(sizes) <= 4, sizes
"""


if __name__ == "__main__":
    unittest.main()
