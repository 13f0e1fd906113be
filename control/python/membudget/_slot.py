"""Process slots: what one process has counted, and whether it still lives.

Figures come from a Process structure that is either the slot itself (this process's own) or a copy.
Counts taken from a block are clamped before use, so that a scribbled one gives wrong figures at worst.
"""

import functools
import os

from . import _abi

_WORDS_PER_SHARD = _abi.SHARD_BYTES // 8
_ALLOCATED, _FREED, _ALLOCATIONS, _FREES = range(4)


class Slot:
    """The figures of one process slot. Sizes in bytes.

    `process` is read as late as possible; `earlier`, a copy taken before it, is where freed bytes are
    taken from. In this order what is under way can only make live_bytes too large, by one call per thread.
    """

    def __init__(self, process, earlier=None):
        self.process = process
        self._now = self._shard_words(process)
        self._earlier_process = process if earlier is None else earlier
        self._earlier = self._now if earlier is None else self._shard_words(earlier)

    @staticmethod
    def _shard_words(process):
        return memoryview(process).cast("B")[_abi.Process.shards.offset :].cast("q")

    def _sum(self, words, process, column):
        end = min(process.shard_high, _abi.SHARDS) * _WORDS_PER_SHARD
        return sum(words[column:end:_WORDS_PER_SHARD])

    @property
    def live_bytes(self):
        """Usable bytes handed out and not freed; with what was inherited at a fork."""
        freed = self._sum(self._earlier, self._earlier_process, _FREED)
        return self._sum(self._now, self.process, _ALLOCATED) - freed

    @property
    def mapped_bytes(self):
        """Memory the program mapped by itself."""
        return self.process.mapped_bytes

    @property
    def calls(self):
        """(allocations, frees) since the start."""
        frees = self._sum(self._earlier, self._earlier_process, _FREES)
        return self._sum(self._now, self.process, _ALLOCATIONS), frees

    @property
    def own_bytes(self):
        """(live, mapped) without what was inherited at a fork: what a group's sum takes from it."""
        live = self.live_bytes - self.process.inherited_live_bytes
        mapped = self.mapped_bytes - self.process.inherited_mapped_bytes
        return max(0, live), max(0, mapped)


def pid_namespace():
    """The inode of this process's pid namespace; 0 where /proc does not tell."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0


@functools.lru_cache(maxsize=None)
def _boot_offset_ticks():
    """By how much later than without a time namespace /proc shows this process times of boot."""
    try:
        with open("/proc/self/timens_offsets", "rb") as file:
            offsets = dict(line.split()[:2] for line in file)
    except (OSError, ValueError):
        return 0
    return int(offsets.get(b"boottime", 0)) * os.sysconf("SC_CLK_TCK")


def is_local(process):
    """Whether the slot's pid means something in this process's pid namespace."""
    here = pid_namespace()
    return process.pid_namespace in (0, here) or here == 0


def _stat_fields(process):
    """/proc/PID/stat from field 3 on, where the slot's process lives: same pid, same start time. Else None."""
    if process.pid <= 0:
        return None
    try:
        with open(f"/proc/{process.pid}/stat", "rb") as file:
            # The command's name, in brackets, may hold blanks and brackets.
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    start_time = int(fields[19]) - _boot_offset_ticks()
    lives = fields[0] not in (b"Z", b"X") and process.start_time in (0, start_time)
    return fields if lives else None


def is_held(process):
    """Whether the slot's process lives, were it that it executes another program by now. About 30 us.

    A process of another pid namespace cannot be asked for, and counts as alive.
    """
    if process.state in (_abi.PROCESS_FREE, _abi.PROCESS_LEAVING):
        return False
    return not is_local(process) or _stat_fields(process) is not None


def is_taken(process):
    """Whether it lives, too, and counts: it still executes the program that took the slot, as far as can be told."""
    if process.state not in (_abi.PROCESS_STARTING, _abi.PROCESS_LIVE):
        return False
    if not is_local(process):
        return True
    fields = _stat_fields(process)
    if fields is None:
        return False
    program = int(fields[24]), int(fields[25])
    return 0 in (process.stack_start, program[1]) or program == (process.code_end, process.stack_start)
