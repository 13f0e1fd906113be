"""What the tests of batches share: a budget that does what the test says."""

import unittest

import support  # noqa: F401  (makes the package importable)
import membudget

MIB = 2**20


class FakeBudget:
    """Crossed while `elsewhere` plus what `batch` holds reaches the limit; an item weighs `item_bytes`."""

    def __init__(self, limit_bytes=100 * MIB, elsewhere=0, item_bytes=MIB):
        self.limit_bytes = limit_bytes
        self.elsewhere = elsewhere
        self.item_bytes = item_bytes
        self.batch = ()
        self.trimmed_bytes = 0  # what the next trim gives back
        self.trims = 0

    @property
    def counted_bytes(self):
        return self.elsewhere + len(self.batch) * self.item_bytes

    @property
    def group(self):
        return self  # alone in it

    @property
    def crossed(self):
        return self.counted_bytes >= self.limit_bytes

    def trim(self):
        self.trims += 1
        self.elsewhere -= self.trimmed_bytes
        return self.trimmed_bytes


class Counted:
    """Knows how many of its kind there are."""

    alive = 0

    def __init__(self):
        Counted.alive += 1

    def __del__(self):
        Counted.alive -= 1


class BatchTestCase(unittest.TestCase):
    def setUp(self):
        self.written = []
        self.budget = FakeBudget()

    def batch(self, **options):
        batch = membudget.Batch(self.written.append, budget=self.budget, **options)
        self.budget.batch = batch
        return batch

    def sizes(self):
        return [len(items) for items in self.written]
