"""When to flush: by count, by polling the resident size or the cgroup, by the kernel's event, or by membudget."""

import contextlib
import ctypes
import os
import sys

ALLOCATORS = ("ptmalloc", "jemalloc", "mimalloc", "tcmalloc")
NAMES = (
    [f"count:{count}" for count in (10_000, 20_000, 30_000, 40_000)]
    + [f"rss:95:{every}" for every in (1000, 100, 1)]
    + [f"cgroup:{percent}:{every}" for every in (100, 1) for percent in (95, 97, 98)]
    + ["event:95"]
    + [f"membudget:{allocator}:{objects}" for allocator in ALLOCATORS for objects in ("malloc", "keep")]
)


class _Strategy:
    @contextlib.contextmanager
    def flushing(self):
        yield


class _Count(_Strategy):
    def __init__(self, count):
        self._count = count

    def says_flush(self, items):
        return items >= self._count


class _Polling(_Strategy):
    """Asks every so many events, and trims after a flush where `trims`."""

    def __init__(self, used_bytes, most, every, trims):
        self._used_bytes, self._most, self._every, self._trims = used_bytes, most, every, trims
        self._calls = 0
        self._trim = ctypes.CDLL(None).malloc_trim

    def says_flush(self, items):
        self._calls += 1
        return self._calls % self._every == 0 and items > 0 and self._used_bytes() >= self._most

    @contextlib.contextmanager
    def flushing(self):
        yield
        if self._trims:
            self._trim(0)


class _Event(_Strategy):
    """cgroup v1's threshold: an eventfd that the kernel raises."""

    def __init__(self, folder, threshold):
        self._event = os.eventfd(0, os.EFD_NONBLOCK)
        self._usage = os.open(os.path.join(folder, "memory.usage_in_bytes"), os.O_RDONLY)
        control = os.open(os.path.join(folder, "cgroup.event_control"), os.O_WRONLY)
        os.write(control, f"{self._event} {self._usage} {threshold}".encode())
        os.close(control)
        self._trim = ctypes.CDLL(None).malloc_trim

    def says_flush(self, items):
        try:
            os.read(self._event, 8)
            return items > 0
        except BlockingIOError:
            return False

    @contextlib.contextmanager
    def flushing(self):
        yield
        self._trim(0)


class _Membudget(_Strategy):
    """Nothing is tuned: the reserve is learned."""

    def __init__(self):
        sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../control/python"))
        import membudget

        self._budget = membudget.attach()
        self._library = ctypes.CDLL(None)
        self._library.membudget_preload_set_reserve.argtypes = [ctypes.c_int64]
        self._library.membudget_preload_set_reserve(-1)

    def says_flush(self, items):
        return items > 0 and self._budget.crossed

    @contextlib.contextmanager
    def flushing(self):
        self._library.membudget_preload_flush_begins()
        try:
            yield
        finally:
            self._library.membudget_preload_flush_ends()


def _resident_bytes():
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * 4096


def strategy_of(name, account, folder, limit_bytes):
    """The strategy of that name."""
    kind, *rest = name.split(":")
    if kind == "count":
        return _Count(int(rest[0]))
    if kind == "membudget":
        return _Membudget()
    threshold = limit_bytes * int(rest[0]) // 100
    if kind == "event":
        return _Event(folder, threshold)
    if kind == "rss":
        return _Polling(_resident_bytes, threshold, int(rest[1]), trims=False)
    return _Polling(account.charged_bytes, threshold, int(rest[1]), trims=True)


def command_of(name, consumer, membudget):
    """The command line that runs `consumer` (a list) by that strategy."""
    kind, *rest = name.split(":")
    if kind != "membudget":
        return consumer
    allocator, objects = rest
    settings = ["--limit", "100%", "--hard-limit", "99%", "--allocator", allocator]
    return [membudget, "run", *settings, "--env", f"MEMBUDGET_PYTHONMALLOC={objects}", "--", *consumer]
