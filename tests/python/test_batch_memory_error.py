"""Batch, when memory is refused."""

import asyncio
import os
import tempfile
import unittest
from unittest import mock

from batches import BatchTestCase, Counted, FakeBudget, MIB

import membudget
from membudget._block import path_of
from membudget._turn import Turn


class Refusing(dict):
    """A dict that raises MemoryError the first `times` it is put into."""

    def __init__(self, times, items=()):
        super().__init__(items)
        self.times = times

    def __setitem__(self, key, value):
        if self.times:
            self.times -= 1
            raise MemoryError
        super().__setitem__(key, value)


class MemoryErrorTest(BatchTestCase):
    def refusing(self, times):
        batch = self.batch()
        batch["a"] = 1
        batch._items = Refusing(times, batch._items)
        return batch

    def test_insertion_flushes_and_is_tried_again(self):
        with self.refusing(1) as batch:
            batch["b"] = 2
            self.assertEqual((self.written, dict(batch)), ([{"a": 1}], {"b": 2}))
        self.assertEqual(self.sizes(), [1, 1])

    def test_insertion_is_tried_no_third_time(self):
        class Key:
            def __hash__(self):
                raise MemoryError

        batch = self.batch()
        batch["a"] = 1
        with self.assertRaises(MemoryError):
            batch[Key()] = 2
        self.assertEqual((self.sizes(), len(batch)), ([1], 0))

    def test_guard(self):
        results = [MemoryError, "made"]
        make = mock.Mock(side_effect=results)
        batch = self.batch()
        batch["a"] = 1
        self.assertEqual(batch.guard(make, 5, size=6), "made")
        self.assertEqual(make.mock_calls, [mock.call(5, size=6)] * 2)
        self.assertEqual((self.sizes(), self.budget.trims), ([1], 1))

    def test_guard_lets_go_before_it_flushes(self):
        def make():
            part = Counted()  # noqa: F841
            if not seen:
                raise MemoryError
            return "made"

        seen = []
        batch = membudget.Batch(lambda items: seen.append(Counted.alive), budget=self.budget)
        batch["a"] = 1
        self.assertEqual((batch.guard(make), seen), ("made", [0]))

    def test_guard_passes_other_errors_on(self):
        batch = self.batch()
        batch["a"] = 1
        with self.assertRaises(ValueError):
            batch.guard(int, "x")
        with self.assertRaises(MemoryError):
            batch.guard(mock.Mock(side_effect=MemoryError))
        self.assertEqual(self.sizes(), [1])

    def test_process_batch_that_needs_too_much(self):
        batch = membudget.Batch(mock.Mock(side_effect=MemoryError), max_items=1, budget=self.budget)
        with self.assertRaisesRegex(MemoryError, "one item by itself, of 1 that .* 100,000 bytes are counted"):
            self.budget.elsewhere = 100_000
            batch["a"] = 1
        self.assertEqual(dict(batch), {"a": 1})


class PartsTest(BatchTestCase):
    """process_batch is refused memory for more than `most` items, or for a `large` one beside more than another."""

    def setUp(self):
        super().setUp()
        self.most, self.large = 3, ()

    def process(self, items):
        needs_room = any(key in self.large for key in items)
        held = [key for key in range(20) if Payload.alive[key]]
        if len(items) > self.most or (needs_room and len(held) > 2):
            raise MemoryError
        self.written.append(dict.fromkeys(items))

    def filled(self, process=None, count=10):
        batch = membudget.Batch(process or self.process, budget=self.budget)
        for key in range(count):
            batch[key] = Payload(key)
        return batch

    def test_of_a_batch_are_processed_in_order_and_let_go(self):
        batch = self.filled()
        batch.flush()
        self.assertEqual([key for items in self.written for key in items], list(range(10)))
        self.assertLessEqual(max(self.sizes()), 3)
        self.assertEqual((len(batch), sum(Payload.alive)), (0, 0))
        self.assertGreater(self.budget.trims, 1)

    def test_what_is_too_much_beside_others_comes_last_and_alone(self):
        self.large = (2, 5)
        self.filled().flush()
        self.assertEqual([key for items in self.written for key in items][:8], [0, 1, 3, 4, 6, 7, 8, 9])
        self.assertEqual(self.written[-1:], [{5: None}])

    def test_what_is_too_much_by_itself_stays_with_what_was_not_processed(self):
        def process(items):
            if 4 in items:
                raise MemoryError
            self.process(items)

        batch = self.filled(process)
        with self.assertRaisesRegex(MemoryError, "one item by itself"):
            batch.flush()
        self.assertEqual(([key for items in self.written for key in items], list(batch)), ([0, 1, 2, 3, 5, 6, 7, 8, 9], [4]))

    def test_another_exception_ends_it(self):
        def process(items):
            if 5 in items and len(items) <= self.most:
                raise ValueError
            self.process(items)

        batch = self.filled(process)
        with self.assertRaises(ValueError):
            batch.flush()
        self.assertIn(5, batch)
        self.assertEqual(sorted([*batch, *(key for items in self.written for key in items)]), list(range(10)))

    def test_where_nothing_can_be_processed_it_is_not_tried_for_ever(self):
        refuse = mock.Mock(side_effect=MemoryError)
        batch = self.filled(refuse, count=20)
        with self.assertRaises(MemoryError):
            batch.flush()
        self.assertEqual(sorted(batch), list(range(20)))
        self.assertLess(refuse.call_count, 50)

    def test_of_an_async_batch(self):
        async def process(items):
            self.process(items)

        async def fill():
            async with membudget.AsyncBatch(process, budget=self.budget) as batch:
                for key in range(10):
                    await batch.add(key, Payload(key))

        asyncio.run(fill())
        self.assertEqual([key for items in self.written for key in items], list(range(10)))
        self.assertLessEqual(max(self.sizes()), 3)


class GroupTest(BatchTestCase):
    """In a group, where there is room once others have let go."""

    def setUp(self):
        super().setUp()
        header = mock.Mock(hard_limit_bytes=0, overhead_bytes=0)
        header.name = b"nobody"
        self.budget._view = mock.Mock(has_company=True, **{"header.return_value": header})
        self.naps = []
        nap = mock.patch("membudget._retry.time.sleep", self.naps.append)
        nap.start()
        self.addCleanup(nap.stop)

    def test_process_batch_waits_for_others(self):
        process = mock.Mock(side_effect=[MemoryError] * 40 + [None])
        batch = membudget.Batch(process, budget=self.budget, reserve=None)
        batch["a"] = 1
        batch.flush()
        self.assertEqual((process.call_count, len(batch)), (41, 0))
        self.assertGreater(len(self.naps), 30)

    def test_who_waits_in_vain_may_have_what_is_kept_for_flushes(self):
        view, events = self.budget._view, []
        view.flush_begins = lambda: events.append("begins")
        view.flush_ends = lambda: events.append("ends")
        refuse = mock.Mock(side_effect=lambda: events.append("tries") or (_ for _ in ()).throw(MemoryError))
        with self.assertRaises(MemoryError):
            self.batch().guard(refuse)
        self.assertEqual([events.count("begins"), events.count("ends"), events[-1]], [1, 1, "ends"])
        self.assertLess(10, events.index("begins"), "others come first")
        self.assertLess(events.index("begins"), 100, "but not for long")

    def test_not_for_ever(self):
        batch = self.batch()
        with self.assertRaisesRegex(MemoryError, "no room for it, although nothing is held"):
            batch.guard(mock.Mock(side_effect=MemoryError))
        self.assertAlmostEqual(sum(self.naps), 30, delta=3)

    def test_as_long_as_others_flush(self):
        header = self.budget._view.header()
        header.flushes = 0
        make = mock.Mock(side_effect=MemoryError)
        calls_of_a_minute = []

        def flush_now_and_then(seconds):
            self.naps.append(seconds)
            if sum(self.naps) < 60:
                header.flushes = int(sum(self.naps) / 20)
                calls_of_a_minute[:] = [make.call_count]

        with mock.patch("membudget._retry.time.sleep", flush_now_and_then):
            with self.assertRaises(MemoryError):
                self.batch().guard(make)
        self.assertAlmostEqual(sum(self.naps), 40 + 30, delta=6)
        self.assertGreater(calls_of_a_minute[0], 1000)

    def test_not_for_ever_where_only_others_get_on(self):
        header = self.budget._view.header()
        header.flushes = 0

        def flush_always(seconds):
            self.naps.append(seconds)
            header.flushes += 1

        with mock.patch("membudget._retry.time.sleep", flush_always):
            with self.assertRaises(MemoryError):
                self.batch().guard(mock.Mock(side_effect=MemoryError))
        self.assertAlmostEqual(sum(self.naps), 300, delta=30)

    def test_the_error_says_what_the_group_counts(self):
        self.budget.batch = range(3)
        with mock.patch.object(FakeBudget, "group", mock.Mock(counted_bytes=200 * MIB)):
            with self.assertRaisesRegex(MemoryError, "3,145,728 bytes are counted in this process, 209,715,200 in all"):
                membudget.Batch(budget=self.budget).guard(mock.Mock(side_effect=MemoryError))

    def test_a_turn_is_short(self):
        """Who else waits may hold what this process lacks."""
        with mock.patch("membudget._retry.Turn") as turn:
            turn.return_value.is_mine = True
            make = mock.Mock(side_effect=[MemoryError] * 60 + ["made"])
            self.assertEqual(self.batch().guard(make), "made")
            self.assertEqual(turn.return_value.leave.call_count, 3)
            self.assertEqual(len([nap for nap in self.naps if nap > 0.02]), 2)

    def test_one_process_at_a_time_tries_again(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        with mock.patch.dict(os.environ, MEMBUDGET_DIR=folder.name):
            with open(path_of("nobody"), "wb"):
                pass
            other = Turn("nobody")
            self.assertTrue(other.take())
            make = mock.Mock(side_effect=[MemoryError, "made"])
            calls = []  # of make, as often as it was waited

            def nap(_):
                calls.append(make.call_count)
                if len(calls) == 10:
                    other.leave()

            with mock.patch("membudget._retry.time.sleep", nap):
                self.assertEqual(self.batch().guard(make), "made")
            self.assertEqual(calls, [1] * 10, "not before the other has left")

    def test_waiting_survives_refusals_of_its_own(self):
        refusals = [MemoryError] * 3
        with mock.patch("membudget._retry.Turn") as turn:
            turn.return_value.take.side_effect = [*refusals, True]
            type(turn.return_value).is_mine = mock.PropertyMock(side_effect=[False] * 3 + [True])
            self.budget.trim = mock.Mock(side_effect=MemoryError)
            make = mock.Mock(side_effect=[MemoryError, MemoryError, "made"])
            self.assertEqual(self.batch().guard(make), "made")
            turn.return_value.leave.assert_called_once_with()


class Payload:
    alive = [0] * 20

    def __init__(self, key):
        self.key = key
        Payload.alive[key] += 1

    def __del__(self):
        Payload.alive[self.key] -= 1


if __name__ == "__main__":
    unittest.main()
