"""What Batch and AsyncBatch have in common: the items, and when they are to be handed over."""

import sys
import time
from collections.abc import Mapping

from ._attach import attach
from ._reserve import Reserve

_SHARE_TO_GROW = 32  # of the limit: 3 %
_LEAST_GROWTH_BYTES = 1 << 20


class Collected(Mapping):
    """Items, read like a dict; whether they are due; how much memory processing them has taken."""

    def __init__(self, max_items, max_age, budget, reserve):
        if max_items is not None and max_items < 1:
            raise ValueError(f"max_items must be at least 1, not {max_items}")
        if max_age is not None and max_age <= 0:
            raise ValueError(f"max_age must be more than 0 seconds, not {max_age}")
        self.budget = attach(required=False) if budget is None else budget
        self._reserve = Reserve(self.budget, reserve)
        self._max_items = sys.maxsize if max_items is None else max_items
        self._max_age = max_age
        self._has_bounds = max_items is not None or max_age is not None
        self._must_look = self._has_bounds  # upon each insertion, at more than whether the budget is crossed
        self._items = {}
        self._deadline = None
        self._resume_bytes = 0  # counted bytes to reach before pressure counts again
        self._error = None  # what the last process_batch raised, if it did
        self._is_closed = False

    def __getitem__(self, key):
        return self._items[key]

    def __contains__(self, key):
        return key in self._items

    def __iter__(self):
        return iter(self._items)

    def __len__(self):
        return len(self._items)

    def __repr__(self):
        return f"<membudget.{type(self).__name__} of {len(self._items)} items>"

    def get(self, key, default=None):
        """The payload of `key`, or `default`."""
        return self._items.get(key, default)

    @property
    def due(self):
        """Whether the items should be handed over now: there are some, and the budget is crossed, or they
        are max_items, or the first of them is max_age old."""
        return bool(self._items) and self._is_due()

    @property
    def due_in(self):
        """Seconds until the items are due for their age, 0.0 when they are due: how long a poll may wait.

        None where nothing is known of when: no items, or no max_age.
        """
        if not self._items:
            return None
        if self._is_due():
            return 0.0
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def _is_due(self):
        if self.budget.crossed:
            if not self._resume_bytes or self.budget.counted_bytes >= self._resume_bytes:
                return True
        elif self._resume_bytes:
            self._resume_at(0)
        return len(self._items) >= self._max_items or (self._max_age is not None and self._is_old())

    def _resume_at(self, counted_bytes):
        """From there on pressure counts again; 0: at once."""
        self._resume_bytes = counted_bytes
        self._must_look = self._has_bounds or counted_bytes > 0

    def _is_old(self):
        now = time.monotonic()
        if self._deadline is None:
            self._deadline = now + self._max_age
        return now >= self._deadline

    def _is_full(self):
        """Whether there is no room for one more while the items before are still being processed."""
        return self.budget.crossed or len(self._items) >= self._max_items

    def _check_open(self):
        if self._is_closed:
            raise RuntimeError("the batch is closed: nobody would process what is put into it")

    def _take(self):
        """(items, their deadline), of which the caller sees to it that they are processed."""
        taken = self._items, self._deadline
        self._items, self._deadline = {}, None
        self._error = None  # its traceback may hold an earlier batch
        self._reserve.flush_begins()
        return taken

    def _give_back(self, items, deadline, error):
        """Keeps `items`, which `error` kept from being processed; what was put in meanwhile is newer."""
        items.update(self._items)
        self._items, self._deadline, self._error = items, deadline, error

    def _relieve(self):
        """Sees to it that the level falls, or that batches do not shrink to an item when it cannot."""
        self._resume_at(0)
        if not self.budget.crossed:
            return
        self.budget.trim()
        if self.budget.crossed:
            growth = max(self.budget.limit_bytes // _SHARE_TO_GROW, _LEAST_GROWTH_BYTES)
            self._resume_at(self.budget.counted_bytes + growth)
