"""Budget: what a program reads of its own or another's memory budget."""

import threading
import time
from collections import namedtuple

from . import _abi
from ._level import LEVELS, Level, Reader

Snapshot = namedtuple(
    "Snapshot",
    "name pid command allocator level limit_bytes hard_limit_bytes low_bytes medium_bytes release_bytes "
    "live_bytes mapped_bytes counted_bytes peak_live_bytes peak_counted_bytes peak_error_bytes "
    "allocations frees crossings last_crossing_ns last_crossing_live_bytes last_crossing_counted_bytes "
    "overhead_bytes reserve_bytes processes config_errors",
)
Snapshot.__doc__ = """One reading of all counters. Sizes in bytes, a limit of 0 is none; times in ns since the epoch.

pid is None for a group, whose sizes are sums over its processes, inherited bytes counted once."""

Sums = namedtuple("Sums", "live mapped counted")


class Budget(Reader):
    """The memory budget of this process, of another one, or of a group; made by attach().

    Level and limits are the group's; sizes are of the process that was attached to, or of the group when
    it was attached to by name. All members may be used from any thread. For a target other than this
    process they raise ProcessLookupError once it has ended, and BadBlock when its block was damaged.
    """

    __slots__ = ("_view", "__weakref__")

    def __init__(self, view):
        self._view = view
        self._follow_view()

    def _follow_view(self):
        self._read_from(self._view, LEVELS)

    def __repr__(self):
        try:
            held, limit, level = self.counted_bytes, self.limit_bytes, self.level
        except OSError as error:
            return f"<membudget.Budget: {error}>"
        of = f"{limit / 2**20:.1f} MiB" if limit else "no limit"
        return f"<membudget.Budget {held / 2**20:.1f} MiB of {of}, {level.name}>"

    @property
    def live_bytes(self):
        """Bytes handed out by the allocator and not freed; exact while no thread is inside it. About 3 us."""
        return self._sums().live

    @property
    def mapped_bytes(self):
        """Private anonymous writable memory that the program mapped by itself: CPython's arenas above all."""
        return self._sums().mapped

    @property
    def counted_bytes(self):
        """Live plus mapped bytes: what is held against the limit."""
        return self._sums().counted

    @property
    def peak_live_bytes(self):
        """The most that live_bytes has been."""
        return self._peaks(self._sums())[0]

    @property
    def peak_counted_bytes(self):
        """The most that counted_bytes has been."""
        return self._peaks(self._sums())[1]

    @property
    def limit_bytes(self):
        """The group's limit, 0 for none. May be set: the level is right for the new limit at once.

        Setting raises ValueError for a negative size, OSError where it is not ours to change. A budget
        that is not there (attach(required=False)) ignores it.
        """
        return self._view.header().limit_bytes

    @limit_bytes.setter
    def limit_bytes(self, limit_bytes):
        limit_bytes = int(limit_bytes or 0)
        if not 0 <= limit_bytes <= 2**62:
            raise ValueError(f"limit_bytes must be between 0 and 2**62, not {limit_bytes}")
        self._view.set_limit(limit_bytes)

    @property
    def group(self):
        """The Budget of the group that this one belongs to: sizes are sums over its processes. Of a group itself.

        attach(name) opens a process where the name is a pid, as that of a group without a name of its own.
        NotAttached where it cannot be found, as in a process without a budget.
        """
        return self if self._view.is_group else Budget(self._view.group())

    @property
    def reserve_bytes(self):
        """How far below the limit CRITICAL is raised already, for what handing a batch over takes. See Batch."""
        return self._view.header().reserve_bytes

    def trim(self):
        """Has the allocator hand its free memory back to the kernel; returns how many bytes.

        Some milliseconds for hundreds of megabytes. Another process does it in its next call of
        malloc or free, which CPython's small objects reach with MEMBUDGET_PYTHONMALLOC=malloc only: TimeoutError after
        5 s, ProcessLookupError when it has ended.
        """
        return self._view.trim()

    def wait(self, level=Level.CRITICAL, timeout=None):
        """Sleeps, without the GIL and without polling, until the level is at least `level`.

        True when it is, or was for a moment since the call; False after `timeout` seconds (None: never).
        Signal handlers run meanwhile. ProcessLookupError when the target has ended, noticed within 1 s.
        """
        return self._wait(Level(level), timeout, None)

    async def wait_async(self, level=Level.CRITICAL, timeout=None):
        """wait() for asyncio, in a thread of its own that ends with the wait or its cancellation."""
        from ._async import run_in_thread

        stop = threading.Event()
        try:
            return await run_in_thread(self._wait, Level(level), timeout, stop)
        finally:
            stop.set()
            self._view.wake()

    def snapshot(self):
        """All counters in one reading, a Snapshot: its limits belong together, its sums add up."""
        view = self._view
        slots = view.slots()
        header = view.header()
        sums = self._sums(slots)
        calls = [slot.calls for slot in slots]
        peak_live, peak_counted = self._peaks(sums, header, slots)
        process = slots[0].process if slots else _abi.Process()
        return Snapshot(
            name=_abi.text(header.name),
            pid=None if view.is_group else process.pid,
            command=_abi.text(process.command),
            allocator=_abi.text(process.allocator),
            level=self.level,
            limit_bytes=header.limit_bytes,
            hard_limit_bytes=header.hard_limit_bytes,
            low_bytes=header.low_bytes,
            medium_bytes=header.medium_bytes,
            release_bytes=header.release_bytes,
            live_bytes=sums.live,
            mapped_bytes=sums.mapped,
            counted_bytes=sums.counted,
            peak_live_bytes=peak_live,
            peak_counted_bytes=peak_counted,
            peak_error_bytes=(header if view.is_group else process).peak_error_bytes,
            allocations=sum(allocations for allocations, _ in calls),
            frees=sum(frees for _, frees in calls),
            crossings=header.crossings,
            last_crossing_ns=header.last_crossing_ns,
            last_crossing_live_bytes=header.last_crossing_live_bytes,
            last_crossing_counted_bytes=header.last_crossing_counted_bytes,
            overhead_bytes=header.overhead_bytes,
            reserve_bytes=header.reserve_bytes,
            processes=len(slots),
            config_errors=_abi.text(process.config_errors),
        )

    def _sums(self, slots=None):
        slots = self._view.slots() if slots is None else slots
        if self._view.is_group:
            each = [slot.own_bytes for slot in slots]
        else:
            each = [(slot.live_bytes, slot.mapped_bytes) for slot in slots]
        live, mapped = sum(live for live, _ in each), sum(mapped for _, mapped in each)
        return Sums(live, mapped, live + mapped)

    def _peaks(self, sums, header=None, slots=None):
        if self._view.is_group:
            recorded = header or self._view.header()
        else:
            recorded = (slots or self._view.slots())[0].process
        return max(recorded.peak_live_bytes, sums.live), max(recorded.peak_counted_bytes, sums.counted)

    def _wait(self, level, timeout, stop):
        deadline = None if timeout is None else time.monotonic() + timeout
        view = self._view
        crossings = view.header().crossings
        while not (stop and stop.is_set()):
            view.check_alive()
            word = view.level_word()
            if word & 0xFF >= level or view.header().crossings != crossings:
                return True
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return False
            # `stop` may be set just before the sleep: then its wake-up is missed, for a second.
            most = 1.0 if stop else view.wait_slice
            view.sleep(word, most if left is None else left if most is None else min(most, left))
        return False
