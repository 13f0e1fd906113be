"""This process's own budget: the preloaded library's functions and the memory they point to.

The library is found among what the program has loaded already, so nothing is opened. A forked child has a
slot of its own, and perhaps a block of its own or none: the addresses are looked up again there.
"""

import ctypes
import os

from . import _abi, _futex
from ._errors import HOW_TO_START, NotAttached
from ._slot import Slot


class _Functions:
    """What libmembudget.so exports for readers. AttributeError where it is not preloaded."""

    def __init__(self):
        library = ctypes.CDLL(None)
        self.block = library.membudget_preload_block
        self.process = library.membudget_preload_process
        self.set_limit = library.membudget_preload_set_limit
        self.trim = library.membudget_preload_trim
        self.block.restype = self.process.restype = ctypes.c_void_p
        self.block.argtypes = self.process.argtypes = self.trim.argtypes = []
        self.set_limit.argtypes = [ctypes.c_int64]
        self.trim.restype = ctypes.c_int64
        self.set_reserve = library.membudget_preload_set_reserve
        self.flush_begins = library.membudget_preload_flush_begins
        self.flush_ends = library.membudget_preload_flush_ends
        self.set_reserve.argtypes = [ctypes.c_int64]
        self.flush_begins.argtypes = self.flush_ends.argtypes = []


class OwnView:
    """The block and slot of this process in memory. Where there are none: zeros, which never press."""

    is_group = False
    wait_slice = None  # seconds; nobody has to look whether the target still lives

    def __init__(self, functions=None):
        self._functions = functions
        self._point_to(None, None)
        if functions:
            self.refresh()

    def refresh(self):
        """Looks up where block and slot are; called again after a fork."""
        self._point_to(self._functions.block(), self._functions.process())

    def _point_to(self, block, process):
        self.is_there = block is not None
        self._header = _abi.Header.from_address(block) if block else _abi.Header()
        self._slot = Slot(_abi.Process.from_address(process) if process else _abi.Process())
        self._address = ctypes.addressof(self._header)
        self.level_byte = memoryview(self._header).cast("B")[_abi.LEVEL_OFFSET :][:1]
        self.level_address = self._address + _abi.LEVEL_OFFSET  # valid as long as the view: never unmapped

    def group(self):
        """The view of the group. NotAttached where there is none."""
        from . import _other  # most programs only ever look at themselves

        self.check_there()
        return _other.find_group(_abi.text(self._header.name))

    def check_there(self):
        """Raises NotAttached when this process is not counted, though the library is loaded."""
        if self.is_there:
            return
        if os.environ.get("MEMBUDGET_CHILDREN") == "ignore":
            why = "it is a child of one that was started with MEMBUDGET_CHILDREN=ignore; join or own would count it"
        else:
            why = "its group has no slot left, or the block was damaged, or it could not begin (it said so then)"
        raise NotAttached(f"membudget is loaded but does not count this process: {why}")

    def header(self):
        """The header itself."""
        return self._header

    def slots(self):
        """The figures of the target's processes."""
        return [self._slot]

    def level_word(self):
        """Level and number of changes."""
        return self._header.level_word

    def sleep(self, seen, timeout):
        """Sleeps while the level word is `seen`, `timeout` seconds at most (None: any time)."""
        _futex.wait(self._address + _abi.Header.level_word.offset, seen, timeout)

    def wake(self):
        """Wakes those who sleep on the level word, to look again."""
        _futex.wake(self._address + _abi.Header.level_word.offset)

    def check_alive(self):
        """Raises ProcessLookupError when the target has ended; this process has not."""

    def set_limit(self, limit_bytes):
        """Sets the group's limit; does nothing where there is no budget. OSError."""
        error = self._functions.set_limit(limit_bytes) if self.is_there else 0
        if error:
            raise OSError(-error, os.strerror(-error))

    @property
    def has_company(self):
        """Whether the group has, or had, other processes."""
        return self._header.process_high > 1

    @property
    def can_reserve(self):
        """Whether set_reserve() does anything."""
        return self.is_there

    def set_reserve(self, reserve_bytes):
        """Has CRITICAL raised that far below the group's limit; negative: as the library learns it. OSError."""
        error = self._functions.set_reserve(reserve_bytes) if self.is_there else 0
        if error:
            raise OSError(-error, os.strerror(-error))

    def flush_begins(self):
        """Tells the library that a batch is being processed from here on, to flush_ends()."""
        if self.is_there:
            self._functions.flush_begins()

    def flush_ends(self):
        """Ends flush_begins()."""
        if self.is_there:
            self._functions.flush_ends()

    def limit_may_kill(self):
        """Whether the limit follows the one at which the kernel kills."""
        header = self._header
        is_share = header.limit.is_set and header.limit.unit == _abi.UNIT_MILLIONTHS
        return bool(is_share or header.measure == _abi.MEASURE_FOOTPRINT)

    def trim(self):
        """Has the allocator hand free memory back; how many bytes."""
        return self._functions.trim() if self.is_there else 0


def find():
    """This process's view. NotAttached where the library is not preloaded, or counts nothing."""
    try:
        functions = _Functions()
    except AttributeError:
        raise NotAttached(f"this program does not run under membudget; {HOW_TO_START}") from None
    view = OwnView(functions)
    view.check_there()
    return view
