"""Batch's reserve: when it is learned, and what the library is told; and that it learns."""

import unittest

from support import ALLOCATORS, run_preloaded
import membudget


class FakeView:
    """Takes down what it is told."""

    can_reserve = True

    def __init__(self, may_kill=True):
        self.may_kill = may_kill
        self.told = []

    def limit_may_kill(self):
        return self.may_kill

    def set_reserve(self, reserve_bytes):
        self.told.append(reserve_bytes)

    def flush_begins(self):
        self.told.append("begins")

    def flush_ends(self):
        self.told.append("ends")


class FakeBudget:
    """What Batch takes of a budget."""

    crossed = False

    def __init__(self, view):
        self._view = view

    def trim(self):
        return 0


class ReserveTest(unittest.TestCase):
    def setUp(self):
        self.view = FakeView(may_kill=False)

    def batch(self, process=lambda items: None, **options):
        return membudget.Batch(process, budget=FakeBudget(self.view), **options)

    def test_settings(self):
        for may_kill, reserve, expected in (
            (True, None, [-1]), (False, None, []), (False, "learn", [-1]), (True, 5000, [5000]), (False, 0, [0]),
        ):
            self.view = FakeView(may_kill)
            self.batch(reserve=reserve)
            with self.subTest(may_kill=may_kill, reserve=reserve):
                self.assertEqual(self.view.told, expected)

    def test_flushes_are_told_of(self):
        batch = self.batch(lambda items: self.view.told.append("process"))
        batch.flush()
        self.assertEqual(self.view.told, [])
        batch["a"] = 1
        batch.flush()
        self.assertEqual(self.view.told, ["begins", "process", "ends"])

    def test_drains_are_told_of(self):
        batch = membudget.Batch(budget=FakeBudget(self.view))
        batch["a"] = 1
        with batch.drain():
            self.view.told.append("process")
        self.assertEqual(self.view.told, ["begins", "process", "ends"])

    def test_failing_flushes_are_told_of(self):
        batch = self.batch(lambda items: 1 / 0)
        batch["a"] = 1
        with self.assertRaises(ZeroDivisionError):
            batch.flush()
        with self.assertRaises(KeyError):
            with batch.drain():
                raise KeyError
        self.assertEqual(self.view.told, ["begins", "ends"] * 2)

    def test_budgets_that_keep_none(self):
        self.view.can_reserve = False
        batch = self.batch(reserve="learn")
        batch["a"] = 1
        batch.flush()
        self.assertEqual(self.view.told, [])
        for reserve in (None, "learn", 5000):
            with membudget.Batch(print, reserve=reserve, max_items=9) as batch:
                self.assertEqual(batch.budget.reserve_bytes, 0)

    def test_wrong_settings(self):
        for wrong, error in ((-1, ValueError), ("5M", TypeError), (1.5, TypeError), (True, TypeError)):
            with self.assertRaises(error):
                self.batch(reserve=wrong)


class LibraryTest(unittest.TestCase):
    def test_size_that_is_counted(self):
        """The limit is somebody's wish: batches fill it."""
        run_preloaded(
            "import membudget as m\nb = m.attach()\nm.Batch(print)\nassert b.reserve_bytes == 0\n"
            "m.Batch(print, reserve=5000)\nassert b.reserve_bytes == 5000 == b.snapshot().reserve_bytes", LIMIT="64M",
        )

    def test_percentage(self):
        run_preloaded(
            "import membudget as m\nm.Batch(print)\nb = m.attach()\n"
            "assert 0.14 < b.reserve_bytes / b.limit_bytes < 0.17, (b.reserve_bytes, b.limit_bytes)", LIMIT="50%",
        )

    def test_learns_with_the_footprint(self):
        for allocator in ALLOCATORS:
            with self.subTest(allocator=allocator):
                run_preloaded(FOOTPRINT, allocator, LIMIT="96M", MEASURE="footprint")

    def test_learns_with_what_is_counted(self):
        for allocator in ALLOCATORS:
            with self.subTest(allocator=allocator):
                run_preloaded(FOOTPRINT.replace("process)", 'process, reserve="learn")') + COUNTED, allocator, LIMIT="96M")

    def test_trimming_brings_the_level_in_line(self):
        for allocator in ALLOCATORS:
            with self.subTest(allocator=allocator):
                run_preloaded(TRIMMED, allocator, LIMIT="48M", MEASURE="footprint")


FOOTPRINT = """
import membudget
budget = membudget.attach()
limit = budget.limit_bytes
reserves = []
def process(items):
    reserves.append(budget.reserve_bytes)
    taken = bytearray(2**20)
    taken[::4096] = bytes(len(taken[::4096]))
with membudget.Batch(process) as batch:
    key = 0
    while len(reserves) < 5:
        key += 1
        batch[key] = bytes(key * 7919 % 8000)
assert 0.14 < reserves[0] / limit < 0.17, reserves
assert reserves[0] > reserves[1] > max(reserves[2:]), reserves
assert 2**20 < budget.reserve_bytes < 0.05 * limit, budget.reserve_bytes
"""

COUNTED = """
assert budget.peak_counted_bytes <= limit, budget.snapshot()
assert 2**20 * 1.25 <= budget.reserve_bytes < 2**20 * 1.5 + 0.03 * limit, budget.reserve_bytes
"""

TRIMMED = """
import membudget
budget = membudget.attach()
for _ in range(12):
    items = []
    while not budget.crossed:
        items.append(bytes(1000 + len(items) % 3000))
    del items
    budget.trim()
    assert not budget.crossed, budget.snapshot()
"""


if __name__ == "__main__":
    unittest.main()
