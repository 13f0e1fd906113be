"""Budget without the library: one that never presses, and waiting on a block made by hand."""

import asyncio
import ctypes
import gc
import mmap
import os
import signal
import subprocess
import sys
import threading
import time
import unittest

from support import MODULE, PYTHONPATH, BlockTestCase
import membudget
from membudget import Level, _abi, _futex, _level


class View:
    """A level to be read: in memory, or, as another process's is, by a call."""

    def __init__(self, is_in_memory):
        self.level_byte = (ctypes.c_uint8 * 1)()
        self.level_address = ctypes.addressof(self.level_byte) if is_in_memory else None

    def read_level_byte(self):
        if self.level_byte[0] == 1:
            raise ProcessLookupError
        return self.level_byte[0]


class ReaderTest(unittest.TestCase):
    def test_all_levels(self):
        for is_in_memory in (True, False):
            view, reader = View(is_in_memory), _level.Reader()
            reader._read_from(view, _level.LEVELS)
            for byte, level in enumerate(_level.LEVELS):
                view.level_byte[0] = byte
                if byte != 1:
                    self.assertIs(reader.level, level)
                    self.assertIs(reader.crossed, byte == 255)

    @unittest.skipUnless(MODULE, "the part in C only")
    def test_part_in_c(self):
        reader = _level.Reader()
        for read in (lambda: reader.level, lambda: reader.crossed):
            with self.assertRaisesRegex(AttributeError, "no budget"):
                read()
        self.assertRaises(TypeError, reader._read_from, View(True), list(_level.LEVELS))
        self.assertRaises(ValueError, reader._read_from, View(True), _level.LEVELS[:255])
        self.assertRaises(AttributeError, reader._read_from, object(), _level.LEVELS)
        view = View(False)
        view.level_byte[0] = 1
        reader._read_from(view, _level.LEVELS)
        with self.assertRaises(ProcessLookupError):
            reader.level
        held = sys.getrefcount(view), sys.getrefcount(_level.LEVELS), sys.getrefcount(_level.Reader)
        for _ in range(10):
            other = _level.Reader()
            other._read_from(view, _level.LEVELS)
            other._read_from(view, _level.LEVELS)
        del other
        self.assertEqual(held, (sys.getrefcount(view), sys.getrefcount(_level.LEVELS), sys.getrefcount(_level.Reader)))


class NoBudgetTest(unittest.TestCase):
    def setUp(self):
        self.budget = membudget.attach(required=False)

    def test_attach_says_how_to_start(self):
        with self.assertRaisesRegex(membudget.NotAttached, "membudget run --limit 512M -- python3 app.py"):
            membudget.attach()

    def test_never_presses(self):
        budget = self.budget
        self.assertIs(budget.level, Level.NONE)
        self.assertIs(budget.crossed, False)
        self.assertEqual(budget.live_bytes + budget.counted_bytes + budget.mapped_bytes, 0)
        self.assertEqual(budget.peak_live_bytes + budget.peak_counted_bytes + budget.trim(), 0)
        budget.limit_bytes = 1000
        self.assertEqual(budget.limit_bytes, 0)
        self.assertEqual(budget.snapshot().counted_bytes, 0)
        self.assertIn("no limit, NONE", repr(budget))

    def test_the_part_in_c_reads_where_it_was_built(self):
        self.assertEqual(_level.Reader.__module__, "_membudget" if MODULE else "membudget._level")

    def test_limit_is_checked(self):
        for wrong in (-1, 2**63):
            with self.assertRaises(ValueError):
                self.budget.limit_bytes = wrong
        self.budget.limit_bytes = None

    def test_wait_times_out(self):
        started = time.monotonic()
        self.assertIs(self.budget.wait(timeout=0.1), False)
        self.assertGreaterEqual(time.monotonic() - started, 0.1)
        self.assertIs(self.budget.wait(Level.NONE), True)
        with self.assertRaises(ValueError):
            self.budget.wait(51)

    def test_wait_runs_signal_handlers(self):
        def handle(number, frame):
            raise KeyError("from the handler")

        previous = signal.signal(signal.SIGALRM, handle)
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        try:
            with self.assertRaises(KeyError):
                self.budget.wait(timeout=10)
        finally:
            signal.signal(signal.SIGALRM, previous)

    def test_wait_async(self):
        self.assertIs(asyncio.run(self.budget.wait_async(timeout=0.05)), False)

    def test_wait_async_cancelled(self):
        async def cancel():
            with self.assertRaises(asyncio.TimeoutError):
                await asyncio.wait_for(self.budget.wait_async(), 0.1)

        before = threading.active_count()
        asyncio.run(cancel())
        deadline = time.monotonic() + 5
        while threading.active_count() > before and time.monotonic() < deadline:
            time.sleep(0.01)
        self.assertLessEqual(threading.active_count(), before)

    def test_program_ends_in_spite_of_a_wait(self):
        code = (
            "import asyncio, membudget\n"
            "async def main():\n"
            "    asyncio.ensure_future(membudget.attach(required=False).wait_async())\n"
            "    await asyncio.sleep(0.1)\n"
            "asyncio.run(main())\n"
        )
        subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": PYTHONPATH}, timeout=20, check=True)


class LevelTest(unittest.TestCase):
    def test_numbers(self):
        self.assertEqual([int(level) for level in Level], [0, 50, 100, 255])
        self.assertGreater(Level.CRITICAL, Level.MEDIUM)
        self.assertEqual(Level.LOW, 50)


class WaitTest(BlockTestCase):
    """A block whose level word this test changes and wakes, as the library would."""

    def setUp(self):
        super().setUp()
        self.process = self.start_process()
        path = self.write_block(self.make_header(), self.make_process(self.process.pid))
        with open(path, "r+b") as file:
            memory = mmap.mmap(file.fileno(), _abi.HEADER_BYTES)
        self.header = _abi.Header.from_buffer(memory)
        self.budget = membudget.attach("test")

    def set_level(self, level):
        self.header.level_word = (self.header.level_word & ~0xFF) + 0x100 | level
        self.header.crossings += level == Level.CRITICAL
        _futex.wake(ctypes.addressof(self.header) + _abi.Header.level_word.offset)

    def later(self, function, *arguments):
        timer = threading.Timer(0.1, function, arguments)
        timer.start()
        self.addCleanup(timer.join)

    def test_woken_by_the_level(self):
        self.later(self.set_level, Level.MEDIUM)
        started = time.monotonic()
        self.assertIs(self.budget.wait(Level.LOW, timeout=10), True)
        self.assertLess(time.monotonic() - started, 0.9)  # not by looking once a second

    def test_lower_level_is_not_enough(self):
        self.later(self.set_level, Level.LOW)
        self.assertIs(self.budget.wait(Level.MEDIUM, timeout=0.3), False)

    def test_crossing_that_passed(self):
        def cross_and_fall():
            self.set_level(Level.CRITICAL)
            self.set_level(Level.NONE)

        self.later(cross_and_fall)
        self.assertIs(self.budget.wait(timeout=10), True)

    def test_woken_by_the_end_of_the_target(self):
        self.later(self.process.kill)
        self.later(self.process.wait)
        with self.assertRaises(ProcessLookupError):
            self.budget.wait(timeout=10)

    def test_lets_other_threads_run(self):
        counted = [0]

        def count():
            while not self.budget.crossed and counted[0] < 10**6:
                counted[0] += 1

        thread = threading.Thread(target=count)
        self.later(self.set_level, Level.CRITICAL)
        thread.start()
        self.assertTrue(self.budget.wait(timeout=10))
        thread.join()
        self.assertGreater(counted[0], 10)

    def test_asyncio(self):
        async def wait_for_two():
            return await asyncio.gather(self.budget.wait_async(timeout=10), self.budget.wait_async(timeout=0.01))

        self.later(self.set_level, Level.CRITICAL)
        self.assertEqual(asyncio.run(wait_for_two()), [True, False])

    def test_mapping_is_given_back(self):
        def mappings():
            with open("/proc/self/maps") as file:
                return file.read().count(self.directory)

        before = mappings()
        self.budget.wait(timeout=0)
        budget = membudget.attach("test")
        budget.wait(timeout=0.01)
        self.assertEqual(mappings(), before + 1)
        del budget
        gc.collect()
        self.assertEqual(mappings(), before)


class ForkHelpersTest(unittest.TestCase):
    def test_collection_is_off_until_after_fork(self):
        self.addCleanup(gc.unfreeze)
        self.assertTrue(gc.isenabled())
        membudget.prepare_fork()
        membudget.prepare_fork()
        self.assertFalse(gc.isenabled())
        self.assertGreater(gc.get_freeze_count(), 0)
        membudget.after_fork()
        self.assertTrue(gc.isenabled())

    def test_collection_stays_off_if_it_was(self):
        self.addCleanup(gc.unfreeze)
        gc.disable()
        self.addCleanup(gc.enable)
        membudget.prepare_fork()
        membudget.after_fork()
        self.assertFalse(gc.isenabled())


if __name__ == "__main__":
    unittest.main()
