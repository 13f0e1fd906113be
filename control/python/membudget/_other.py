"""The budget of another process or group: figures from its block, changes through the client library."""

import ctypes
import errno
import mmap
import os
import weakref

from . import _abi, _block, _client, _futex, _slot
from ._errors import TargetNotFound, bad_block


class _LevelByte:
    """Reads as the level where the own view has memory: view.level_byte[0]."""

    def __init__(self, file):
        self._file = file

    def __getitem__(self, index):
        return self._file.read(_abi.LEVEL_OFFSET + index, 1)[0]


class OtherView:
    """A process of a block (`index` of its slot), or with index None all of them: the group."""

    wait_slice = 1.0  # seconds; how late the end of the target is noticed
    level_address = None  # memory of a file that may be cut off is not to be read
    can_reserve = False  # only a process itself knows when it flushes

    def __init__(self, file, index=None):
        self._file = file
        self._index = index
        self._identity = index is not None and self._identity_of(file.process(index))
        self._map_address = None
        self.is_group = index is None
        self.level_byte = _LevelByte(file)
        self.target = str(self._identity[0]) if self._identity else _abi.text(file.header().name)

    @staticmethod
    def _identity_of(process):
        return process.pid, process.start_time

    def read_level_byte(self):
        """The level's number."""
        return self.level_byte[0]

    def group(self):
        """The view of the process's group."""
        return OtherView(self._file)

    def header(self):
        """A copy of the header."""
        return self._file.header()

    def slots(self):
        """The figures of the target's processes. ProcessLookupError when the one process has ended."""
        if self.is_group:
            taken = [index for index, process in self._file.taken() if process.state == _abi.PROCESS_LIVE]
            return [self._file.slot(index) for index in taken]
        slot = self._file.slot(self._index)
        if self._identity_of(slot.process) != self._identity or not _slot.is_taken(slot.process):
            raise self._ended()
        return [slot]

    def level_word(self):
        """Level and number of changes."""
        return int.from_bytes(self._file.read(_abi.Header.level_word.offset, 4), _abi.BYTE_ORDER)

    def sleep(self, seen, timeout):
        """Sleeps while the level word is `seen`, `timeout` seconds at most. BadBlock when it was cut off."""
        try:
            _futex.wait(self._level_address(), seen, timeout)
        except OSError as error:
            raise bad_block(self._file.path, os.strerror(error.errno)) from error

    def wake(self):
        """Wakes those who sleep on the level word, to look again."""
        _futex.wake(self._level_address())

    def check_alive(self):
        """Raises ProcessLookupError when the target has ended."""
        if not self.is_group:
            process = self._file.process(self._index)
            if self._identity_of(process) == self._identity and _slot.is_held(process):
                return
        elif self._file.is_in_use():
            return
        raise self._ended()

    def set_limit(self, limit_bytes):
        """Sets the group's limit. OSError; NotImplementedError without the client library."""
        _client.set_limit(self.target, self.is_group, limit_bytes)

    def trim(self):
        """Has the target hand free memory back, 5 s at most; how many bytes. TimeoutError."""
        _client.trim(self.target, self.is_group)
        return sum(max(0, slot.process.trim_released_bytes) for slot in self.slots())

    def _ended(self):
        return ProcessLookupError(errno.ESRCH, f"{self.target} has ended")

    def _level_address(self):
        # Only the kernel looks at this mapping: where the file has been cut off, it says so.
        if self._map_address is None:
            self._map_address = _map_page(self._file)
            weakref.finalize(self, _unmap_page, self._map_address)
        return self._map_address + _abi.Header.level_word.offset


def _memory_function(name, restype, argtypes):
    function = ctypes.CDLL(None, use_errno=True)[name]
    function.restype, function.argtypes = restype, argtypes
    return function


def _map_page(file):
    """The address of the file's first page, mapped for reading. The mmap module does not tell it."""
    call = _memory_function(
        "mmap", ctypes.c_void_p,
        [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long],
    )
    address = call(None, _abi.HEADER_BYTES, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), 0)
    if address == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), file.path)
    return address


def _unmap_page(address):
    _memory_function("munmap", ctypes.c_int, [ctypes.c_void_p, ctypes.c_size_t])(address, _abi.HEADER_BYTES)


def find_process(pid):
    """The view of the living process `pid`, or TargetNotFound. Damaged blocks are passed over."""
    found, newest, refused = None, -1, None
    for path in _block.paths():
        try:
            file = _block.BlockFile(path)
            matches = [i for i, p in file.taken() if p.pid == pid and _slot.is_local(p)]
            created = file.header().created_ns
        except OSError as error:
            refused = error
            continue
        # After an exec into another group its old slot may still stand: the newest block is right.
        if matches and created > newest:
            found, newest = OtherView(file, matches[0]), created
    if found is None:
        hint = f" (passed over: {refused})" if refused else ""
        raise TargetNotFound(f"no process {pid} runs under membudget{hint}")
    return found


def find_group(name):
    """The view of the group `name`, or TargetNotFound. BadBlock, PermissionError, ValueError."""
    path = _block.path_of(name)
    try:
        file = _block.BlockFile(path)
    except FileNotFoundError:
        raise TargetNotFound(f"no group {name!r} in {_block.directory()}") from None
    if not file.is_in_use():
        raise TargetNotFound(f"no process of the group {name!r} is left")
    return OtherView(file)
