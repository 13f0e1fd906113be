"""The learning reserve: a budget made by hand, whose CRITICAL is at limit - reserve, as the library's."""

import random
import unittest

from support import run_preloaded
import membudget
from membudget import _abi
from membudget._own import Usage

LIMIT = 100_000
LEAST = LIMIT // 100


class FakeView:
    """A group's view; `held` is what it holds, `flush_bytes` what processing a batch takes on top."""

    can_reserve = True

    def __init__(self, may_kill=True, overhead_bytes=0):
        self.may_kill = may_kill
        self.overhead_bytes = overhead_bytes
        self._header = _abi.Header(limit_bytes=LIMIT)
        self.held = self.peak = 0
        self.set_values = []

    def header(self):
        return self._header

    def limit_may_kill(self):
        return self.may_kill

    def set_reserve(self, reserve_bytes):
        self._header.reserve_bytes = reserve_bytes
        self.set_values.append(reserve_bytes)

    def hold(self, held):
        self.held = held
        self.peak = max(self.peak, held)

    def usage(self):
        return Usage(self.held, self.peak, self.overhead_bytes, self.held + self.overhead_bytes)


class FakeBudget:
    """What Batch takes of a budget, over a FakeView."""

    limit_bytes = LIMIT

    def __init__(self, view):
        self._view = view

    @property
    def counted_bytes(self):
        return self._view.held

    @property
    def crossed(self):
        return self._view.usage().figure_bytes >= LIMIT - self._view.header().reserve_bytes

    def trim(self):
        return 0


class Consumer:
    """Inserts items of 100 bytes; processing takes `flush_bytes` on top, then all is let go."""

    def __init__(self, view, reserve=None, flush_bytes=2000, base=10_000):
        self.view = view
        self.flush_bytes = flush_bytes
        self.base = base
        self.marks = []  # where each flush began
        self.highest = 0
        self.batch = membudget.Batch(self.process, budget=FakeBudget(view), reserve=reserve)
        view.hold(base)

    def process(self, items):
        start = self.view.usage().figure_bytes
        self.marks.append(start)
        self.view.hold(self.view.held + self.flush_bytes)
        self.highest = max(self.highest, start + self.flush_bytes)
        if self.flush_bytes == "fail":
            raise OSError
        self.view.held = self.base

    def run(self, flushes):
        while len(self.marks) < flushes:
            self.view.hold(self.view.held + 100)
            self.batch[object()] = None
        return self.marks


class LearningTest(unittest.TestCase):
    def setUp(self):
        self.view = FakeView()

    def test_careful_first_then_closer(self):
        marks = Consumer(self.view).run(8)
        self.assertEqual(marks[0], 85_000)
        self.assertEqual(marks, sorted(marks))
        self.assertEqual(marks[1], 92_500)
        self.assertEqual(self.view.header().reserve_bytes, 2000 * 1.25 + LEAST)
        self.assertTrue(96_500 <= marks[-1] < 96_700, marks)

    def test_never_past_99_percent(self):
        marks = Consumer(self.view, flush_bytes=0).run(12)
        self.assertTrue(99_000 <= marks[-1] < 99_200, marks)
        self.assertEqual(self.view.header().reserve_bytes, LEAST)

    def test_worst_counts(self):
        consumer = Consumer(self.view)
        consumer.run(8)
        consumer.flush_bytes = 3000
        consumer.run(9)
        consumer.flush_bytes = 500
        consumer.run(20)
        self.assertEqual(self.view.header().reserve_bytes, 3000 * 1.25 + LEAST)
        self.assertLessEqual(consumer.highest, LIMIT)

    def test_growing_flushes_never_pass_the_limit(self):
        """Each flush may take a quarter more than the worst before, and 1 % on top."""
        dice = random.Random(5)
        consumer = Consumer(self.view, flush_bytes=1000)
        for flush in range(1, 200):
            consumer.run(flush)
            worst = consumer.batch._reserve.worst_bytes
            consumer.flush_bytes = min(dice.randrange(0, int(worst * 1.25) + LEAST - 200), 15_000)
        self.assertLessEqual(consumer.highest, LIMIT)

    def test_an_old_peak_hides_no_rise(self):
        """The program has held more than a flush reaches: what flushes take cannot be seen at first."""
        consumer = Consumer(self.view, flush_bytes=10_000)
        self.view.hold(98_000)
        self.view.held = consumer.base
        consumer.run(20)
        self.assertLessEqual(consumer.highest, LIMIT)
        self.assertGreater(consumer.marks[-1], 82_000)

    def test_flush_without_pressure_only_raises(self):
        consumer = Consumer(self.view, flush_bytes=0)
        for _ in range(5):
            consumer.batch["a"] = 1
            consumer.batch.flush()
        self.assertEqual(self.view.set_values, [15_000])
        consumer.flush_bytes = 30_000
        consumer.batch["a"] = 1
        consumer.batch.flush()
        self.assertEqual(self.view.header().reserve_bytes, 30_000 * 1.25 + LEAST)

    def test_huge_flushes_leave_something_to_fill(self):
        marks = Consumer(self.view, flush_bytes=95_000).run(5)
        self.assertEqual(self.view.header().reserve_bytes, 60_000)
        self.assertEqual(marks[-1], 40_000)

    def test_failed_flush_is_measured(self):
        def fail(items):
            self.view.hold(self.view.held + 20_000)
            raise OSError("disk full")

        batch = membudget.Batch(fail, budget=FakeBudget(self.view))
        batch["a"] = 1
        with self.assertRaises(OSError):
            batch.flush()
        self.assertEqual(self.view.header().reserve_bytes, 20_000 * 1.25 + LEAST)

    def test_drain_is_measured(self):
        batch = membudget.Batch(budget=FakeBudget(self.view))
        batch["a"] = 1
        with batch.drain():
            self.view.hold(20_000)
        self.assertEqual(self.view.header().reserve_bytes, 20_000 * 1.25 + LEAST)

    def test_overhead_that_grows_counts(self):
        def process(items):
            self.view.overhead_bytes += 20_000

        batch = membudget.Batch(process, budget=FakeBudget(self.view))
        batch["a"] = 1
        batch.flush()
        self.assertEqual(self.view.header().reserve_bytes, 20_000 * 1.25 + LEAST)

    def test_no_limit(self):
        self.view.header().limit_bytes = 0
        consumer = Consumer(self.view)
        consumer.batch["a"] = 1
        consumer.batch.flush()
        self.assertEqual(self.view.set_values, [])


class GroupTest(unittest.TestCase):
    def setUp(self):
        self.view = FakeView()

    def test_what_others_have_set_is_not_lowered(self):
        self.view.set_reserve(8000)
        consumer = Consumer(self.view)
        consumer.run(5)
        self.assertEqual(self.view.header().reserve_bytes, 8000)
        consumer.flush_bytes = 7000
        consumer.run(6)
        self.assertEqual(self.view.header().reserve_bytes, 7000 * 1.25 + LEAST)

    def test_careful_value_of_another_is_lowered(self):
        self.view.set_reserve(15_000)
        Consumer(self.view).run(6)
        self.assertEqual(self.view.header().reserve_bytes, 2000 * 1.25 + LEAST)


class SettingTest(unittest.TestCase):
    def test_when_it_learns(self):
        for may_kill, reserve, expected in (
            (True, None, [15_000]), (False, None, []), (False, "learn", [15_000]),
            (True, 5000, [5000]), (False, 0, [0]), (True, 10 * LIMIT, [LIMIT]),
        ):
            view = FakeView(may_kill)
            Consumer(view, reserve)
            with self.subTest(may_kill=may_kill, reserve=reserve):
                self.assertEqual(view.set_values, expected)

    def test_fixed_reserve_stays(self):
        view = FakeView()
        marks = Consumer(view, 5000).run(4)
        self.assertEqual((view.set_values, marks), ([5000], [95_000] * 4))

    def test_library_that_cannot(self):
        view = FakeView()
        view.can_reserve = False
        self.assertEqual(Consumer(view, "learn").run(3), [LIMIT] * 3)
        self.assertEqual(view.set_values, [])

    def test_without_a_budget(self):
        for reserve in (None, "learn", 5000):
            membudget.Batch(print, reserve=reserve, budget=membudget.attach(required=False))
        self.assertEqual(membudget.attach(required=False).reserve_bytes, 0)

    def test_wrong_settings(self):
        for wrong, error in ((-1, ValueError), ("5M", TypeError), (1.5, TypeError), (True, TypeError)):
            with self.assertRaises(error):
                membudget.Batch(print, reserve=wrong)


class LibraryTest(unittest.TestCase):
    """The view of the preloaded library."""

    def test_usage_of_a_group(self):
        run_preloaded(USAGE, LIMIT="64M")

    def test_learning_is_off_for_sizes(self):
        run_preloaded("import membudget as m\nm.Batch(print)\nassert m.attach().reserve_bytes == 0", LIMIT="64M")

    def test_learning(self):
        run_preloaded(LEARNING, LIMIT="64M")


USAGE = """
import membudget, os
view = membudget.attach()._view
held = bytes(9 * 2**20)
usage = view.usage()
assert abs(usage.counted_bytes - membudget.attach().counted_bytes) < 2**17, usage
assert usage.figure_bytes == usage.counted_bytes and usage.overhead_bytes == 0
assert usage.peak_counted_bytes >= usage.counted_bytes
read_end, write_end = os.pipe()
told, tell = os.pipe()
child = os.fork()
if child == 0:
    more = bytes(20 * 2**20)
    os.write(tell, b"x")
    os.read(read_end, 1)
    os._exit(0)
os.read(told, 1)
with_child = view.usage()
grown = with_child.counted_bytes - usage.counted_bytes
assert 20 * 2**20 <= grown < 21 * 2**20, grown
os.write(write_end, b"x")
os.waitpid(child, 0)
assert view.usage().counted_bytes < with_child.counted_bytes - 19 * 2**20
"""

# The library may be one that cannot keep a reserve yet: then nothing is reserved.
LEARNING = """
import membudget
budget = membudget.attach()
limit = budget.limit_bytes
marks = []
def process(items):
    marks.append(budget.counted_bytes)
    taken = bytes(2**20)
with membudget.Batch(process, reserve="learn") as batch:
    can_reserve = budget._view.can_reserve
    assert budget.reserve_bytes == (int(limit * 0.15) if can_reserve else 0), budget.reserve_bytes
    for key in range(60_000):
        batch[key] = bytes(5000)
marks.pop()
if can_reserve:
    assert 0.84 < marks[0] / limit < 0.87, marks
    assert marks == sorted(marks[:4]) + marks[4:], marks
    assert 2**20 * 1.25 < budget.reserve_bytes < 2**20 * 1.6 + limit * 0.011, budget.reserve_bytes
    assert marks[-1] > limit - budget.reserve_bytes - 2**20, marks
    assert budget.peak_counted_bytes <= limit, budget.snapshot()
else:
    assert min(marks) >= limit, marks
"""


if __name__ == "__main__":
    unittest.main()
