"""A memory cgroup of our own: made, limited, entered and removed again. v1, or v2 where it has the controller."""

import os
import time


class Unavailable(Exception):
    """No memory cgroup can be made here; says why."""


def _own_group(controller):
    with open("/proc/self/cgroup") as file:
        for line in file:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            if controller in controllers.split(",") if controller else controllers == "":
                return path
    return "/"


def _candidates():
    yield 1, "/sys/fs/cgroup/memory", _own_group("memory")
    yield 2, "/sys/fs/cgroup", _own_group("")
    yield 2, "/sys/fs/cgroup/unified", _own_group("")


class Cgroup:
    """Made next to or below the group that this process is in. Use as a context; what it was is gone afterwards."""

    def __init__(self, limit_bytes, name=None):
        name = name or f"membudget-bench-{os.getpid()}"
        reasons = []
        for version, mount, own in _candidates():
            for parent in dict.fromkeys((mount, mount + own)):
                try:
                    self._make(version, os.path.join(parent, name), limit_bytes)
                    return
                except OSError as error:
                    reasons.append(f"{parent}: {error.strerror}")
        raise Unavailable("no memory cgroup can be made: " + "; ".join(reasons) + " (root may, outside of containers)")

    def _make(self, version, folder, limit_bytes):
        limit = "memory.limit_in_bytes" if version == 1 else "memory.max"
        if not os.path.exists(os.path.join(os.path.dirname(folder), "memory.stat")):
            raise FileNotFoundError(2, "no memory controller")
        os.mkdir(folder)
        self.version, self.folder, self.limit_bytes = version, folder, limit_bytes
        try:
            self.write(limit, limit_bytes)
            for swap, text in (("memory.swappiness", "0"), ("memory.swap.max", "0")):
                if os.path.exists(os.path.join(folder, swap)):
                    self.write(swap, text)
        except OSError:
            os.rmdir(folder)
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for _ in range(100):
            try:
                os.rmdir(self.folder)
                return
            except OSError:  # somebody is still on the way out
                time.sleep(0.05)
        raise OSError(f"{self.folder} cannot be removed: a process is left in it")

    def write(self, file, text):
        with open(os.path.join(self.folder, file), "w") as out:
            out.write(str(text))

    def enter(self):
        """Moves the calling process into it; for a child before its exec."""
        self.write("cgroup.procs", os.getpid())

    def kills(self):
        """How often the kernel has killed for want of memory in it."""
        file = "memory.oom_control" if self.version == 1 else "memory.events"
        with open(os.path.join(self.folder, file)) as lines:
            return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))


class Account:
    """What is charged to a cgroup and cannot be taken back: without page cache. About 30 us a reading."""

    def __init__(self, folder):
        self.is_v1 = os.path.exists(os.path.join(folder, "memory.usage_in_bytes"))
        current = "memory.usage_in_bytes" if self.is_v1 else "memory.current"
        self._current = os.open(os.path.join(folder, current), os.O_RDONLY)
        self._stat = os.open(os.path.join(folder, "memory.stat"), os.O_RDONLY)
        self._keys = (b"total_inactive_file ", b"total_active_file ") if self.is_v1 else (b"\ninactive_file ", b"\nactive_file ")

    def used_bytes(self):
        """All of it, page cache too: one read of one number."""
        return int(os.pread(self._current, 32, 0))

    def charged_bytes(self):
        """Without what the kernel can take back."""
        stat = os.pread(self._stat, 8192, 0)
        used = self.used_bytes()
        for key in self._keys:
            start = stat.index(key) + len(key)
            used -= int(stat[start : stat.index(b"\n", start)])
        return used
