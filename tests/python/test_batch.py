"""Batch, with a budget that does what the test says."""

import gc
import unittest
from unittest import mock

from batches import BatchTestCase, Counted, FakeBudget, MIB
from support import MODULE

import membudget
from membudget import _items


class FlushTest(BatchTestCase):
    def test_at_the_end(self):
        with self.batch() as batch:
            batch["a"] = 1
            batch["b"] = 2
            batch["a"] = 3
            self.assertEqual(self.written, [])
        self.assertEqual(self.written, [{"a": 3, "b": 2}])
        self.assertIs(type(self.written[0]), dict)

    def test_nothing_to_write(self):
        with self.batch() as batch:
            batch.flush()
        self.assertEqual(self.written, [])

    def test_when_crossed(self):
        with self.batch() as batch:
            for key in range(250):
                batch[key] = key
        self.assertEqual(self.sizes(), [100, 100, 50])
        self.assertEqual(self.budget.trims, 0)

    def test_max_items(self):
        with self.batch(max_items=10) as batch:
            for key in range(25):
                batch[key % 20] = key
        self.assertEqual(self.sizes(), [10, 10, 5])

    def test_max_age(self):
        with mock.patch("time.monotonic") as clock, self.batch(max_age=5) as batch:
            for now in range(100, 112):
                clock.return_value = now
                batch[now] = now
        self.assertEqual(self.sizes(), [6, 6])

    def test_by_hand(self):
        with self.batch() as batch:
            batch["a"] = 1
            batch.flush()
            self.assertEqual((self.written, len(batch)), ([{"a": 1}], 0))
        self.assertEqual(len(self.written), 1)

    def test_the_part_in_c_inserts_where_it_was_built(self):
        self.assertEqual(_items.Items.__module__, "_membudget" if MODULE else "membudget._items")

    def test_what_looks_like_a_budget_is_asked_like_one(self):
        budget = mock.Mock(spec=membudget.Budget)
        self.assertIsInstance(budget, membudget.Budget)
        budget.crossed = False
        batch = membudget.Batch(self.written.append, budget=budget)
        batch["a"] = 1
        self.assertEqual(self.written, [])
        budget.crossed = budget.limit_bytes = budget.counted_bytes = 1
        batch["b"] = 2
        self.assertEqual(self.written, [{"a": 1, "b": 2}])

    def test_exceptions_of_keys_and_budgets_propagate(self):
        batch = membudget.Batch(self.written.append, budget=object())
        with self.assertRaises(AttributeError):
            batch["a"] = 1
        batch = self.batch()
        for _ in range(2):  # the second time by the only thread
            with self.assertRaises(TypeError):
                batch[[]] = 1
            batch["a"] = 1
        for read in (batch.get, batch.__getitem__, batch.__contains__, batch.__delitem__):
            with self.assertRaises(TypeError):
                read([])
        for read in (batch.__getitem__, batch.__delitem__):
            with self.assertRaises(KeyError):
                read("b")
        self.assertEqual((batch.get("b"), batch.get("b", 5), "b" in batch, len(batch)), (None, 5, False, 1))
        with self.assertRaises(TypeError):
            batch.guard()

    def test_before_it_is_initialized(self):
        batch = membudget.Batch.__new__(membudget.Batch)
        for use in (lambda: len(batch), lambda: batch.get(1), lambda: batch["a"], lambda: "a" in batch, lambda: batch.budget,
                    lambda: batch.__setitem__("a", 1), lambda: batch.__delitem__("a")):
            with self.assertRaises(AttributeError):
                use()

    def test_a_batch_that_holds_itself_is_collected(self):
        batch = membudget.Batch(max_items=10, budget=self.budget)
        batch["self"], batch["counted"] = batch, Counted()
        del batch
        gc.collect()
        self.assertEqual(Counted.alive, 0)

    def test_keys_whose_comparison_inserts(self):
        batch = self.batch()

        class Key:
            def __hash__(self):
                return 1

            def __eq__(self, other):
                if len(batch) == 1:
                    batch["meanwhile"] = 1
                return False

        first, second = Key(), Key()
        batch[first] = 1
        batch[second] = 2
        self.assertEqual(set(batch), {first, second, "meanwhile"})

    def test_wrong_arguments(self):
        for options in ({"max_items": 0}, {"max_age": 0}, {"max_age": -1}):
            with self.assertRaises(ValueError):
                self.batch(**options)
        with self.assertRaises(TypeError):
            membudget.Batch(None)

    def test_without_a_budget(self):
        with membudget.Batch(self.written.append, max_items=2) as batch:
            batch["a"] = batch["b"] = batch["c"] = 1
        self.assertEqual(self.sizes(), [2, 1])


class DictTest(BatchTestCase):
    def test_is_a_mapping(self):
        batch = self.batch()
        batch.update(a=1, b=2)
        self.assertEqual((batch["a"], batch.get("b"), batch.get("c"), batch.get("c", 5)), (1, 2, None, 5))
        self.assertEqual((list(batch), len(batch), "a" in batch, "c" in batch), (["a", "b"], 2, True, False))
        self.assertEqual(dict(batch.items()), {"a": 1, "b": 2})
        self.assertEqual(batch.setdefault("c", 3), 3)
        del batch["a"]
        self.assertEqual(batch.pop("b"), 2)
        with self.assertRaises(KeyError):
            batch["a"]
        with self.assertRaises(KeyError):
            del batch["a"]
        batch.clear()
        self.assertFalse(batch)
        batch.flush()
        self.assertEqual(self.written, [])

    def test_insertion_from_process_batch(self):
        def process(items):
            self.written.append(dict(items))
            if len(self.written) == 1:
                batch["left over"] = items["a"]

        with membudget.Batch(process, max_items=1, budget=self.budget) as batch:
            batch["a"] = 1
            self.assertEqual(dict(batch), {"left over": 1})
        self.assertEqual(self.written, [{"a": 1}, {"left over": 1}])

    def test_the_dict_is_let_go(self):
        class Budget(FakeBudget):
            @property
            def crossed(self):
                return Counted.alive >= 10

        budget = Budget()
        with membudget.Batch(lambda items: None, budget=budget) as batch:
            for key in range(100):
                batch[key] = Counted()
        self.assertEqual((budget.trims, Counted.alive), (0, 0))  # had the level not fallen, it would trim


class ErrorTest(BatchTestCase):
    def failing(self, items):
        if self.fails:
            raise OSError("disk full")
        self.written.append(items)

    def test_items_are_kept(self):
        self.fails = True
        with membudget.Batch(self.failing, max_items=2, budget=self.budget) as batch:
            batch["a"] = 1
            with self.assertRaises(OSError):
                batch["b"] = 2
            self.assertEqual(dict(batch), {"a": 1, "b": 2})
            self.fails = False
            batch["c"] = 3
        self.assertEqual(self.written, [{"a": 1, "b": 2, "c": 3}])

    def test_own_error_ends_the_block(self):
        self.fails = True
        calls = mock.Mock(side_effect=OSError("disk full"))
        with self.assertRaises(OSError):
            with membudget.Batch(calls, max_items=2, budget=self.budget) as batch:
                batch["a"] = 1
                batch["b"] = 2
        self.assertEqual(calls.call_count, 1)
        self.assertEqual(dict(batch), {"a": 1, "b": 2})

    def test_error_at_the_end(self):
        self.fails = True
        with self.assertRaises(OSError):
            with membudget.Batch(self.failing, budget=self.budget) as batch:
                batch["a"] = 1
        self.assertEqual(dict(batch), {"a": 1})

    def test_other_error_ends_the_block(self):
        with self.assertRaises(KeyError):
            with self.batch() as batch:
                batch["a"] = 1
                raise KeyError("of the loop")
        self.assertEqual(self.written, [{"a": 1}])

    def test_newer_items_win(self):
        def process(items):
            batch["a"] = "newer"
            raise OSError

        batch = membudget.Batch(process, budget=self.budget)
        batch["a"] = "older"
        with self.assertRaises(OSError):
            batch.flush()
        self.assertEqual(dict(batch), {"a": "newer"})


class StuckLevelTest(BatchTestCase):
    """The level stays up after a flush, because the memory is held elsewhere."""

    def test_trim_is_tried(self):
        self.budget.elsewhere = 60 * MIB
        with self.batch() as batch:
            for key in range(39):
                batch[key] = key
            self.budget.elsewhere = self.budget.trimmed_bytes = 100 * MIB
            batch[39] = 39
            self.assertEqual((self.sizes(), self.budget.trims), ([40], 1))
            for key in range(99):
                batch[key] = key
            self.assertEqual(self.sizes(), [40])

    def test_batches_do_not_shrink_to_an_item(self):
        self.budget = FakeBudget(limit_bytes=128 * MIB, elsewhere=200 * MIB, item_bytes=MIB // 4)
        with self.batch() as batch:
            for key in range(97):
                batch[key] = key
        self.assertEqual(self.sizes(), [1, 16, 16, 16, 16, 16, 16])  # 4 MiB: a 32nd of the limit

    def test_growth_is_a_mebibyte_at_least(self):
        self.budget = FakeBudget(limit_bytes=1000, elsewhere=2000, item_bytes=MIB // 4)
        with self.batch() as batch:
            for key in range(9):
                batch[key] = key
        self.assertEqual(self.sizes(), [1, 4, 4])

    def test_a_new_crossing_counts_at_once(self):
        self.budget.elsewhere = 100 * MIB
        with self.batch() as batch:
            batch[0] = 0
            self.assertEqual(self.sizes(), [1])
            batch[1] = 1
            self.budget.elsewhere = 50 * MIB
            batch[2] = 2
            self.budget.elsewhere = 99 * MIB
            batch[3] = 3
            self.assertEqual(self.sizes(), [1, 3])

    def test_max_items_still_counts(self):
        self.budget = FakeBudget(limit_bytes=1000 * MIB, elsewhere=2000 * MIB)
        with self.batch(max_items=5) as batch:
            for key in range(11):
                batch[key] = key
        self.assertEqual(self.sizes(), [1, 5, 5])


class OwnLoopTest(BatchTestCase):
    """Loops that look themselves whether the batch is due."""

    def test_due(self):
        batch = self.batch(max_items=3)
        self.assertIs(batch.due, False)
        batch["a"] = 1
        self.assertEqual((batch.due, batch.due_in), (False, None))
        self.budget.elsewhere = 100 * MIB
        self.assertEqual((batch.due, batch.due_in), (True, 0.0))
        batch.flush()
        self.assertEqual((batch.due, batch.due_in), (False, None))

    def test_due_for_its_age(self):
        with mock.patch("time.monotonic") as clock:
            clock.return_value = 100
            batch = self.batch(max_age=5)
            self.assertIsNone(batch.due_in)
            batch["a"] = 1
            clock.return_value = 102
            self.assertEqual((batch.due, batch.due_in), (False, 3))
            clock.return_value = 106
            self.assertEqual((batch.due, batch.due_in), (True, 0.0))
            batch.flush()
            self.assertEqual((self.sizes(), batch.due), ([1], False))

    def test_without_process_batch(self):
        batch = self.budget.batch = membudget.Batch(max_items=2, budget=self.budget)
        for key in range(300):
            batch[key] = key
        batch.flush()
        self.assertEqual((len(batch), batch.due), (300, True))
        with batch.drain() as items:
            self.assertEqual((len(items), len(batch)), (300, 0))
            batch["next"] = 1
        self.assertEqual((items, dict(batch)), ({}, {"next": 1}))

    def test_drain_keeps_what_failed(self):
        batch = membudget.Batch(budget=self.budget)
        batch.update(a=1, b=2)
        with self.assertRaises(OSError):
            with batch.drain():
                batch["a"] = "newer"
                raise OSError("disk full")
        self.assertEqual(dict(batch), {"a": "newer", "b": 2})

    def test_drain_of_nothing(self):
        with membudget.Batch(budget=self.budget).drain() as items:
            self.assertEqual(items, {})

    def test_drain_sees_to_the_level(self):
        batch = self.budget.batch = membudget.Batch(budget=self.budget)
        self.budget.elsewhere = self.budget.trimmed_bytes = 100 * MIB
        batch["a"] = 1
        with batch.drain():
            pass
        self.assertEqual((self.budget.trims, self.budget.crossed), (1, False))

    def test_close(self):
        batch = self.batch()
        batch["a"] = 1
        batch.close()
        batch.close()
        self.assertEqual(self.written, [{"a": 1}])
        with self.assertRaisesRegex(RuntimeError, "closed"):
            batch["b"] = 2
        with batch:
            batch["b"] = 2
        self.assertEqual(self.sizes(), [1, 1])

    def test_close_that_failed(self):
        calls = mock.Mock(side_effect=[OSError, None])
        batch = membudget.Batch(calls, budget=self.budget)
        batch["a"] = 1
        with self.assertRaises(OSError):
            batch.close()
        batch.close()
        self.assertEqual((calls.call_count, len(batch)), (2, 0))


if __name__ == "__main__":
    unittest.main()
