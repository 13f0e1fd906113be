"""AsyncBatch: Batch for asyncio. Apart, so that only programs that use asyncio load it."""

import asyncio
import contextlib
import signal

from ._collected import Collected
from ._process_batch import check_async, check_awaitable
from ._retry import LOOK_AGAIN_S, again, in_parts
from ._sigterm import EXIT_STATUS, may_take_over, put_back


class AsyncBatch(Collected):
    """Collects items and awaits process_batch(dict), a coroutine function, when the budget is crossed.

        async with membudget.AsyncBatch(write_to_database, max_age=60) as batch:
            async for key, payload in consumer:
                await batch.add(key, payload)

    TypeError for a plain function, where that can be told; for a lambda and the like, which may return an awaitable,
    once it returned none, with the items kept.

    As Batch, but for this: add() awaits the flush that it makes due. Other tasks of the same event loop go on
    adding meanwhile, into the next batch; while the budget is crossed or the next batch is full, add() waits
    until the flush ends, so process_batch must not wait for a task that adds. max_age is kept by a timer of the
    loop: what such a flush raises goes to the loop's exception handler, the items stay, and it is tried again
    after as long. process_batch runs as a task of its own, which a cancellation of who waits for it does not
    reach: it is raised when the flush is done.

    SIGTERM cancels the task that is in the `async with` block; when the items have been flushed SystemExit(143)
    is raised. As with Batch, by default where nothing else handles it.
    """

    def __init__(self, process_batch, max_items=None, max_age=None, *, budget=None, on_sigterm=None, reserve=None):
        check_async(process_batch)
        super().__init__(max_items, max_age, budget, reserve)
        self._process_batch = process_batch
        self._on_sigterm = on_sigterm
        self._previous_handler = None
        self._owner = None  # the task in the `async with` block, while SIGTERM is for us to handle
        self._is_terminated = False
        self._flushing = None  # the task that processes a batch right now
        self._timer = None
        self._aged_flush = None  # the task that the timer started

    async def __aenter__(self):
        self._is_closed = self._is_terminated = False
        if may_take_over(self._on_sigterm):
            self._previous_handler = signal.getsignal(signal.SIGTERM)
            self._owner = asyncio.current_task()
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._terminate)
        return self

    async def __aexit__(self, kind, error, traceback):
        own_error, self._error = self._error, None
        try:
            if error is None or error is not own_error:
                await self.close()
            self._is_closed = True
        except asyncio.CancelledError:
            if not self._is_terminated:
                raise
        finally:
            self._stop_timer()
            self._restore_sigterm()
        if self._is_terminated and (error is None or isinstance(error, asyncio.CancelledError)):
            raise SystemExit(EXIT_STATUS)

    async def add(self, key, payload):
        """Puts an item in; awaits room for it, and the flush that it makes due."""
        while self._is_flushed_by_another() and self._is_full():
            await asyncio.wait({self._flushing}, timeout=LOOK_AGAIN_S)
        if self._flushing is not asyncio.current_task():
            self._check_open()
        try:
            self._items[key] = payload
        except MemoryError:
            is_refused = True
        else:
            is_refused = False
        if is_refused:
            await self._try_again(lambda: self._items.__setitem__(key, payload))  # a flush begins another dict
        if not self._is_flushing() and self._is_due():
            await self.flush()
        elif self._max_age is not None and self._timer is None:
            self._start_timer()

    async def flush(self):
        """Hands the items over now, after a flush that is under way. Nothing from within process_batch."""
        while self._is_flushed_by_another():
            await asyncio.wait({self._flushing})
        if not self._is_flushing() and self._items:
            self._stop_timer()
            self._flushing = asyncio.ensure_future(self._hand_over())
            await _to_its_end(self._flushing)

    async def close(self):
        """Flushes, for the last time: add() raises RuntimeError from now on."""
        self._is_closed = True
        await self.flush()

    async def guard(self, function, *arguments, **keywords):
        """function(*arguments, **keywords); upon MemoryError the batch is flushed, and it is called once more.

            payload = await batch.guard(json.loads, line)

        In a group of processes again and again, as long as others flush and for 30 s more.
        """
        try:
            return function(*arguments, **keywords)
        except MemoryError:
            pass  # and with it what its traceback holds
        return await self._try_again(lambda: function(*arguments, **keywords))

    async def _hand_over(self):
        items, deadline = self._take()
        try:
            await self._process(items)
        except BaseException as error:
            self._reserve.flush_ends()
            self._give_back(items, deadline, error)
            raise
        else:
            self._reserve.flush_ends()
            del items
            self._relieve()
        finally:
            self._flushing = None
            if self._items and self._max_age is not None:
                self._start_timer()

    async def _process(self, items):
        try:
            return await self._call(items)
        except MemoryError:
            pass  # and with it what its traceback holds
        await _perform(in_parts(self.budget, self._reserve, items), self._call)

    async def _call(self, items):
        await check_awaitable(self._process_batch(items))

    def _is_flushing(self):
        # Done, but never begun: cancelled before its first step.
        return self._flushing is not None and not self._flushing.done()

    def _is_flushed_by_another(self):
        return self._is_flushing() and self._flushing is not asyncio.current_task()

    async def _try_again(self, function):
        await self.flush()
        return await _perform(again(self.budget, self._reserve, function), None)

    def _start_timer(self):
        if not self._is_closed:
            self._timer = asyncio.get_running_loop().call_later(self._max_age, self._on_timer)

    def _stop_timer(self):
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self):
        self._timer = None
        self._aged_flush = asyncio.ensure_future(self.flush())
        self._aged_flush.add_done_callback(self._report_aged_flush)

    @staticmethod
    def _report_aged_flush(task):
        if not task.cancelled() and task.exception() is not None:
            context = {"message": "a membudget.AsyncBatch could not be flushed at its max_age, and is kept"}
            task.get_loop().call_exception_handler({**context, "exception": task.exception(), "task": task})

    def _terminate(self):
        self._is_terminated = True
        self._owner.cancel()

    def _restore_sigterm(self):
        if self._owner is not None:
            self._owner = None
            asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
            put_back(self._previous_handler)


async def _to_its_end(task):
    """Awaits `task` until it is done, also when that is cancelled; then the cancellation is raised."""
    cancelled = None
    while not task.done():
        try:
            await asyncio.wait({task})  # neither cancelled with us nor raising what the task raises
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled from (None if task.cancelled() else task.exception())
    task.result()


async def _perform(steps, process):
    """perform() with a coroutine function."""
    with contextlib.closing(steps):
        answer = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as end:
                return end.value
            if isinstance(step, float):
                await asyncio.sleep(step)
                continue
            try:
                await process(step)
                answer = True
            except MemoryError:
                answer = False
            step = None
