"""Batch, when memory is refused."""

import unittest
from unittest import mock

from batches import BatchTestCase

import membudget


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
        class Payload:
            alive = 0

            def __init__(self):
                Payload.alive += 1

            def __del__(self):
                Payload.alive -= 1

        def make():
            part = Payload()  # noqa: F841
            if not seen:
                raise MemoryError
            return "made"

        seen = []
        batch = membudget.Batch(lambda items: seen.append(Payload.alive), budget=self.budget)
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
        with self.assertRaises(MemoryError):
            batch["a"] = 1
        self.assertEqual(dict(batch), {"a": 1})


if __name__ == "__main__":
    unittest.main()
