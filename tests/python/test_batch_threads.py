"""One Batch used by several threads: every item is processed once, by one thread at a time, without deadlock."""

import os
import subprocess
import sys
import threading
import time
import unittest

from support import PYTHONPATH
import membudget
from batches import MIB, FakeBudget

WAIT_S = 20  # for what has to happen


def run_all(*functions):
    """Runs functions in a thread each; raises what one of them raised. AssertionError when they hang."""
    errors = []

    def run(function):
        try:
            function()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(function,), daemon=True) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive(), "a thread hangs"
    if errors:
        raise errors[0]


class ThreadsTest(unittest.TestCase):
    def setUp(self):
        self.budget = FakeBudget(limit_bytes=100 * MIB)
        self.written = []
        self.inside = 0
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)
        self.addCleanup(sys.setswitchinterval, interval)

    def process(self, items):
        self.inside += 1
        self.assertEqual(self.inside, 1)
        before = len(items)
        time.sleep(0.0005)
        self.assertEqual(len(items), before)  # nobody puts anything in any more
        self.written.append(dict(items))
        self.inside -= 1

    def batch(self, process=None, **options):
        self.budget.batch = membudget.Batch(process or self.process, budget=self.budget, **options)
        return self.budget.batch

    def fill(self, batch, thread, count):
        for number in range(count):
            batch[thread, number] = number

    def check(self, threads, count):
        keys = [key for items in self.written for key in items]
        self.assertEqual(len(keys), threads * count)
        self.assertEqual(set(keys), {(thread, number) for thread in range(threads) for number in range(count)})

    def test_every_item_once(self):
        with self.batch() as batch:
            run_all(*(lambda t=t: self.fill(batch, t, 3000) for t in range(6)))
        self.check(6, 3000)
        # Of each thread one insertion may be under way when the budget is crossed, and one more before it sees the flush.
        self.assertLessEqual(max(map(len, self.written)), 100 + 2 * 6)

    def test_max_items_is_kept(self):
        self.budget.limit_bytes = 10**12
        with self.batch(max_items=50) as batch:
            run_all(*(lambda t=t: self.fill(batch, t, 1000) for t in range(4)))
        self.check(4, 1000)
        self.assertLessEqual(max(map(len, self.written)), 54)
        self.assertGreater(sorted(map(len, self.written))[len(self.written) // 2], 40)

    def test_flush_in_the_middle_of_an_insertion(self):
        """A key's own hash function stops the insertion after the dict has been looked up."""
        entered = threading.Event()

        class Key:
            def __hash__(self):
                entered.set()
                time.sleep(0.1)
                return 5

        def process(items):
            before = len(items)
            time.sleep(0.3)
            self.assertEqual(len(items), before)
            self.written.append(len(items))

        def insert():
            batch["first"] = 1
            batch[Key()] = 2
            batch["last"] = 3

        def flush():
            self.assertTrue(entered.wait(WAIT_S))
            batch.flush()

        with self.batch(process) as batch:
            run_all(insert, flush)
        self.assertEqual(sum(self.written), 3)

    def test_flushes_by_hand_meanwhile(self):
        done = threading.Event()

        def flush():
            while not done.is_set():
                batch.flush()

        def fill():
            self.fill(batch, 0, 30_000)
            done.set()

        with self.batch() as batch:
            run_all(fill, flush, flush)
        self.check(1, 30_000)

    def test_others_go_on_while_there_is_room(self):
        entered, go_on = threading.Event(), threading.Event()

        def process(items):
            self.written.append(items)
            entered.set()
            self.assertTrue(go_on.wait(WAIT_S))

        def insert_meanwhile():
            self.assertTrue(entered.wait(WAIT_S))
            self.fill(batch, 1, 50)
            self.assertEqual(len(batch), 50)
            go_on.set()

        with self.batch(process, max_items=60) as batch:
            run_all(lambda: self.fill(batch, 0, 60), insert_meanwhile)
        self.assertEqual([len(items) for items in self.written], [60, 50])

    def test_others_wait_while_there_is_none(self):
        entered, go_on = threading.Event(), threading.Event()
        inserted = []

        def process(items):
            self.written.append(dict(items))
            if len(self.written) == 1:
                self.budget.elsewhere = 100 * MIB
                entered.set()
                self.assertTrue(go_on.wait(WAIT_S))
                self.assertEqual(inserted, [])
                self.budget.elsewhere = 0

        def insert_meanwhile():
            self.assertTrue(entered.wait(WAIT_S))
            batch["late"] = 1
            inserted.append("late")

        def let_go():
            self.assertTrue(entered.wait(WAIT_S))
            time.sleep(0.2)
            go_on.set()

        with self.batch(process) as batch:
            run_all(lambda: self.fill(batch, 0, 100), insert_meanwhile, let_go)
        self.assertEqual([len(items) for items in self.written], [100, 1])

    def test_goes_on_when_the_level_falls_during_the_flush(self):
        entered = threading.Event()

        def process(items):
            self.written.append(dict(items))
            if len(self.written) == 1:
                self.budget.elsewhere = 100 * MIB
                entered.set()
                time.sleep(0.1)
                self.budget.elsewhere = 0
                deadline = time.monotonic() + WAIT_S
                while "late" not in batch and time.monotonic() < deadline:
                    time.sleep(0.001)
                self.assertIn("late", batch)

        def insert_meanwhile():
            self.assertTrue(entered.wait(WAIT_S))
            batch["late"] = 1

        with self.batch(process) as batch:
            run_all(lambda: self.fill(batch, 0, 100), insert_meanwhile)

    def test_errors_keep_the_items(self):
        failures = []

        def process(items):
            if len(failures) < 20:
                failures.append(len(items))
                raise OSError("disk full")
            self.process(items)

        def fill(thread):
            for number in range(500):
                try:
                    batch[thread, number] = number
                except OSError:
                    pass  # it is in the batch all the same

        with self.batch(process) as batch:
            run_all(*(lambda t=t: fill(t) for t in range(4)))
        self.check(4, 500)
        self.assertEqual(len(failures), 20)

    def test_closed_by_another(self):
        refused = []

        def fill(thread):
            for number in range(100_000):
                try:
                    batch[thread, number] = number
                except RuntimeError:
                    refused.append((thread, number))
                    return

        with self.batch(max_items=1000) as batch:
            run_all(lambda: fill(0), lambda: fill(1), lambda: time.sleep(0.05) or batch.close())
        self.assertEqual(len(refused), 2)
        self.assertEqual(sum(map(len, self.written)), sum(number for _, number in refused))

    def test_drained_by_another(self):
        self.written = []
        done = threading.Event()
        batch = membudget.Batch(budget=self.budget)

        def drain():
            while not done.is_set() or batch:
                with batch.drain() as items:
                    self.process(items)

        run_all(lambda: (self.fill(batch, 0, 20_000), done.set()), drain)
        self.check(1, 20_000)

    def test_sigterm_while_another_thread_flushes(self):
        done = subprocess.run(
            [sys.executable, "-c", SIGTERM], env={**os.environ, "PYTHONPATH": PYTHONPATH}, timeout=WAIT_S,
            stdout=subprocess.PIPE, text=True,
        )
        self.assertEqual((done.returncode, done.stdout), (143, "[5, 2]\n"))


SIGTERM = """
import membudget, os, signal, threading, time
sizes = []
def process(items):
    sizes.append(len(items))
    if len(sizes) == 1:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.3)
    else:
        print(sizes, flush=True)
def fill():
    for key in range(5):
        batch[key] = key
with membudget.Batch(process, max_items=5) as batch:
    try:
        threading.Thread(target=fill).start()
        time.sleep(10)
    finally:
        batch["a"] = batch["b"] = 1
"""


if __name__ == "__main__":
    unittest.main()
