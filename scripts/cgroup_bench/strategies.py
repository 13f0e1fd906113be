"""When to flush: by count, by polling the resident size or the cgroup, by the kernel's event, or by membudget."""

import ctypes
import os
import sys

ALLOCATORS = ("ptmalloc", "jemalloc", "mimalloc", "tcmalloc")
NAMES = (
    [f"count:{count}" for count in (20_000, 40_000, 60_000, 64_000)]
    + [f"rss:95:{every}" for every in (1000, 100, 1)]
    + [f"cgroup:{percent}:{every}" for every in (100, 1) for percent in (95, 97, 98)]
    + ["event:95"]
    + [f"membudget:{allocator}:{objects}" for allocator in ALLOCATORS for objects in ("malloc", "keep")]
)


class _Strategy:
    """Has `buffer`, and flush() hands it to `process`."""

    def __init__(self, process):
        self.buffer = {}
        self._process = process

    def guard(self, function, *arguments):
        """function(*arguments), which takes memory."""
        return function(*arguments)

    def says_flush(self):
        """Asked after each event."""
        raise NotImplementedError

    def flush(self):
        self._process(self.buffer)
        self.buffer.clear()


class _Count(_Strategy):
    def __init__(self, process, count):
        super().__init__(process)
        self._count = count

    def says_flush(self):
        return len(self.buffer) >= self._count


class _Polling(_Strategy):
    """Asks every so many events, and trims after a flush where `trims`."""

    def __init__(self, process, used_bytes, most, every, trims):
        super().__init__(process)
        self._used_bytes, self._most, self._every = used_bytes, most, every
        self._calls = 0
        self._trim = ctypes.CDLL(None).malloc_trim if trims else None

    def says_flush(self):
        self._calls += 1
        return self._calls % self._every == 0 and self.buffer and self._used_bytes() >= self._most

    def flush(self):
        super().flush()
        if self._trim:
            self._trim(0)


class _Event(_Strategy):
    """cgroup v1's threshold: an eventfd that the kernel raises."""

    def __init__(self, process, folder, threshold):
        super().__init__(process)
        self._event = os.eventfd(0, os.EFD_NONBLOCK)
        self._usage = os.open(os.path.join(folder, "memory.usage_in_bytes"), os.O_RDONLY)
        control = os.open(os.path.join(folder, "cgroup.event_control"), os.O_WRONLY)
        os.write(control, f"{self._event} {self._usage} {threshold}".encode())
        os.close(control)
        self._trim = ctypes.CDLL(None).malloc_trim

    def says_flush(self):
        try:
            os.read(self._event, 8)
            return bool(self.buffer)
        except BlockingIOError:
            return False

    def flush(self):
        super().flush()
        self._trim(0)


class _Membudget(_Strategy):
    """Batch as it is, with nothing tuned. It flushes by itself."""

    def __init__(self, process):
        super().__init__(process)
        root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
        sys.path[:0] = [os.path.join(root, "control/python"), os.path.join(root, "build/release/control/python")]
        import membudget

        self.buffer = membudget.Batch(process)
        self.guard = self.buffer.guard

    def flush(self):
        self.buffer.flush()

    def says_flush(self):
        return False


def works_together(name):
    """Whether it looks at what several processes have taken, not at its own alone."""
    return name.startswith(("cgroup:", "event:", "membudget:"))


def _resident_bytes():
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * 4096


def strategy_of(name, account, folder, limit_bytes, process):
    """The strategy of that name; process(dict) writes a batch."""
    kind, *rest = name.split(":")
    if kind == "count":
        return _Count(process, int(rest[0]))
    if kind == "membudget":
        return _Membudget(process)
    threshold = limit_bytes * int(rest[0]) // 100
    if kind == "event":
        return _Event(process, folder, threshold)
    if kind == "rss":
        return _Polling(process, _resident_bytes, threshold, int(rest[1]), trims=False)
    return _Polling(process, account.charged_bytes, threshold, int(rest[1]), trims=True)


def command_of(name, consumer, membudget):
    """The command line that runs `consumer` (a list) by that strategy."""
    kind, *rest = name.split(":")
    if kind != "membudget":
        return consumer
    allocator, objects = rest
    settings = ["--limit", "100%", "--hard-limit", "99%", "--allocator", allocator]
    return [membudget, "run", *settings, "--env", f"MEMBUDGET_PYTHONMALLOC={objects}", "--", *consumer]
