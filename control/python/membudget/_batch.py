"""Batch: a dict that is handed over to be processed when memory runs out, and not before."""

import contextlib
import sys
import threading
import time
from collections.abc import MutableMapping
from threading import get_ident

from ._collected import Collected
from ._items import Items
from ._process_batch import check, refuse_awaitable
from ._retry import LOOK_AGAIN_S, again, in_parts, perform
from ._sigterm import Sigterm

_MOMENT_S = 0.0002
_HAS_GIL = getattr(sys, "_is_gil_enabled", lambda: True)()
_BY_HAND = object()  # None is more likely to be a mistake


class Batch(Items, Collected, MutableMapping):
    """Collects items and hands them to process_batch(dict) when the budget is crossed.

        with membudget.Batch(write_to_database, max_age=60) as batch:
            for key, payload in consumer:
                batch[key] = payload

    process_batch is called from the insertion after which the budget is crossed, `max_items` items are
    held, or `max_age` seconds have passed since the first of them (looked at upon insertions only: a loop
    that waits for its source flushes when `due`, and waits no longer than `due_in`); by flush(); and by
    close() or the end of the `with` block, also when an exception ends it. It never gets an empty dict. When
    it returns, the batch is done with the dict: drop it there, or memory does not fall.

    process_batch is a plain function: TypeError for a coroutine function, which AsyncBatch awaits; and, with the items
    kept, when what it returned is to be awaited.

    When process_batch raises, the items stay in the batch and the exception propagates from the insertion.
    It is not called again for an exception of its own that ends the block; the items are still there.

    Upon MemoryError it is called again, for the items in parts: in halves, each let go before the next, at last by
    one item, with those that are too much beside others at the end; in a group of processes again and again, as long
    as others flush and for 30 s more. So it must undo what it had begun, or be able to do it twice. Where one item by
    itself is too much, MemoryError propagates, and what is left stays in the batch.

    MemoryError upon an insertion, as under MEMBUDGET_HARD_LIMIT: the batch is flushed and the insertion tried
    once more; in a group of processes again and again, as long as others flush and for 30 s more. guard() does so
    for what is made before it is inserted.

    The level may stay up after a flush, when other parts of the program hold the memory. The allocator is
    asked to hand free memory back then; and if that does not help, the next batch may grow by 3 % of the
    limit (1 MiB at least) before it is flushed for pressure again, instead of being flushed at every item.
    So the program exceeds a budget that it could not keep anyway by that much.

    Several threads may use one Batch. process_batch runs in the one whose insertion made it due, one at a
    time, and without any lock held. Others go on inserting meanwhile, into the next batch; but while the budget
    is crossed or the next batch is full, they wait until the level falls or the flush ends. So process_batch
    must not wait for a thread that inserts. What it inserts itself goes into the next batch, at once.

    Without process_batch nothing is handed over by itself: the loop looks at `due`, and calls drain().

    `budget` is attach(required=False) unless given. `reserve` is how far below the limit the budget counts as
    crossed, for what processing takes: bytes, or "learn", from every flush: at first the mark is at 85 % of the
    limit, then it comes closer, up to 99 %, as far as the worst flush seen leaves room. By default it is learned
    where the limit is a percentage or the footprint is measured, for there exceeding it means being killed, else
    it is left as it is, which is none. It is the group's: budget.reserve_bytes.

    SIGTERM, while the main thread is in the `with` block, ends it: it raises SystemExit(143) (after
    process_batch, if that is running there), so the items are flushed on the way out; the previous handler is
    back afterwards. By default that is done where nothing else handles SIGTERM; on_sigterm=True takes it over
    from whoever does, on_sigterm=False leaves it alone. What the loop has taken from its source but not put
    into the batch is lost to it: acknowledge events in process_batch, or handle the signal.

    An insertion costs some 0.07 us more than a dict's (without the package's part in C 0.3), and 5 us while the
    level stays up.
    """

    def __init__(
        self, process_batch=_BY_HAND, max_items=None, max_age=None, *, budget=None, on_sigterm=None, reserve=None
    ):
        if process_batch is not _BY_HAND:
            check(process_batch)
        super().__init__(max_items, max_age, budget, reserve)
        # A lock takes longer than the rest of an insertion. So as long as only one thread has inserted, it does
        # without: it says when it is at it, and another takes the privilege away before it touches the items.
        self._sole_thread = 0
        self._sole_depth = 0  # insertions under way in it: a signal handler may insert, too
        self._process_batch = None if process_batch is _BY_HAND else process_batch
        self._on_sigterm = on_sigterm
        self._sigterm = Sigterm(shielded=Batch.__exit__.__code__)
        # Re-entrant: a signal handler or a finalizer may insert while its thread is inserting.
        self._lock = threading.RLock()
        self._flush_ended = threading.Condition(self._lock)
        self._flusher = None  # the thread that processes a batch right now
        self._is_shared = not _HAS_GIL  # the order of reads and writes above counts on it

    def __enter__(self):
        self._is_closed = False
        self._sigterm.install(self._on_sigterm)
        return self

    def __exit__(self, kind, error, traceback):
        self._sigterm.hold()
        own_error, self._error = self._error, None
        try:
            if error is None or error is not own_error:
                self.close()
            self._is_closed = True
        finally:
            self._sigterm.restore()
            self._sigterm.release()
        if error is None:
            self._sigterm.raise_if_pending()

    def clear(self):
        """Forgets the items without processing them."""
        with self._lock:
            self._end_sole_use()
            self._items, self._deadline = {}, None

    def flush(self):
        """Hands the items over now, after a flush that is under way in another thread.

        Does nothing when there are none, when there is no process_batch, or from within process_batch.
        """
        self._flush(only_when_due=False)

    def close(self):
        """Flushes, for the last time: insertions raise RuntimeError from now on."""
        with self._lock:
            self._is_closed = True
            self._end_sole_use()
        self.flush()

    @contextlib.contextmanager
    def drain(self):
        """Hands the items over as `with batch.drain() as items`, for loops that process them themselves.

            if batch.due:
                with batch.drain() as items:
                    write(items)

        They are back in the batch when an exception ends the block; else the dict is emptied at its end. It
        is empty from the start when there is nothing to process.
        """
        with self._turn() as is_mine:
            if not is_mine:
                yield {}
                return
            with self._lock:
                items, deadline = self._take()
            try:
                yield items
            except BaseException as error:
                self._keep(items, deadline, error)
                raise
            self._reserve.flush_ends()
            items.clear()
            self._relieve()

    # Items calls these five for all that is not an insertion by the only thread into a budget that is not crossed.
    def _insert_locked(self, key, payload):
        with self._lock:
            if self._flusher or self._is_closed:
                self._await_turn()
            me = get_ident()
            if self._sole_thread != me:
                self._end_sole_use()
                if not self._is_shared and not self._is_closed:
                    self._sole_thread = me
            self._items[key] = payload

    def _insert_again(self, key, payload):
        self._try_again(lambda: self._insert_locked(key, payload))

    def _call_again(self, function, arguments, keywords):
        return self._try_again(lambda: function(*arguments, **keywords))

    def _delete(self, key):
        with self._lock:
            del self._items[key]

    def _flush_if_due(self):
        if self._is_due():
            self._flush(only_when_due=True)

    def _end_sole_use(self):
        """With the lock held: no thread inserts without it any more. For ever when it was another than this."""
        sole, self._sole_thread = self._sole_thread, 0
        if sole and sole != get_ident():
            self._is_shared = True
            while self._sole_depth:
                time.sleep(_MOMENT_S)

    def _flush(self, only_when_due):
        if self._process_batch is None or (only_when_due and self._flusher):
            return
        with self._turn() as is_mine:
            # Another thread may have done it meanwhile.
            if is_mine and not (only_when_due and not self._is_due()):
                self._hand_over()

    def _hand_over(self):
        with self._lock:
            items, deadline = self._take()
        try:
            self._process(items)
        except BaseException as error:
            self._keep(items, deadline, error)
            raise
        self._reserve.flush_ends()
        del items
        self._relieve()

    def _process(self, items):
        try:
            return self._call(items)
        except MemoryError:
            pass  # and with it what its traceback holds
        perform(in_parts(self.budget, self._reserve, items), self._call)

    def _call(self, items):
        refuse_awaitable(self._process_batch(items))

    def _keep(self, items, deadline, error):
        self._reserve.flush_ends()
        with self._lock:
            self._give_back(items, deadline, error)

    @contextlib.contextmanager
    def _turn(self):
        """Waits until no other thread processes a batch, and keeps others from it during the `with` block.

        Yields False when there is nothing to process, or this thread is at it already.
        """
        self._sigterm.hold()
        me = get_ident()
        is_mine = False
        try:
            with self._lock:
                if self._sole_thread != me:
                    self._end_sole_use()
                while self._flusher and self._flusher != me:
                    self._flush_ended.wait()
                is_mine = not self._flusher and bool(self._items)
                if is_mine:
                    self._flusher = me
            yield is_mine
        finally:
            if is_mine:
                with self._lock:
                    self._flusher = None
                    self._flush_ended.notify_all()
            self._sigterm.release()
        self._sigterm.raise_if_pending()

    def _await_turn(self):
        """Before an insertion, with the lock held: waits while a flush leaves no room for it."""
        me = get_ident()
        while self._flusher and self._flusher != me and self._is_full():
            self._flush_ended.wait(LOOK_AGAIN_S)
        if self._flusher != me:  # what process_batch puts back when it is the last is there to be seen
            self._check_open()

    def _try_again(self, function):
        """After MemoryError: hands the items over, has the allocator give back what that has freed, and calls it."""
        self.flush()
        return perform(again(self.budget, self._reserve, function), None)
