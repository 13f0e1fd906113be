"""Blocks of other processes: finding, checking and reading them.

They are read with pread, never through a mapping: a file that is cut off while it is read gives an error
then, not a SIGBUS. Names are looked for in $MEMBUDGET_DIR, else /dev/shm.
"""

import ctypes
import os
import stat

from . import _abi, _slot
from ._errors import bad_block

_NAME_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
_EXPECTED = {
    "magic": _abi.MAGIC,
    "abi_version": _abi.ABI_VERSION,
    "header_bytes": _abi.HEADER_BYTES,
    "block_bytes": _abi.BLOCK_BYTES,
    "process_bytes": _abi.PROCESS_BYTES,
    "process_count": _abi.PROCESSES,
    "shard_offset": _abi.Process.shards.offset,
    "shard_bytes": _abi.SHARD_BYTES,
    "shard_count": _abi.SHARDS,
}


def directory():
    """Where the blocks are."""
    return os.environ.get("MEMBUDGET_DIR") or _abi.DEFAULT_DIR


def path_of(name):
    """The file of the group `name`. ValueError for what is no name."""
    if not 0 < len(name) <= _abi.NAME_MAX or not _NAME_CHARACTERS.issuperset(name):
        raise ValueError(f"{name!r} is not the name of a group: [A-Za-z0-9._-], 1 to {_abi.NAME_MAX} characters")
    return os.path.join(directory(), _abi.FILE_PREFIX + name)


def paths():
    """The files that are named like blocks, in no particular order."""
    with os.scandir(directory()) as entries:
        return [entry.path for entry in entries if entry.name.startswith(_abi.FILE_PREFIX)]


class BlockFile:
    """An open block that has been checked. Any thread may read it. Closed with its last reference.

    OSError where it cannot be opened (PermissionError: it is another user's), BadBlock where it is none.
    Every method raises BadBlock when the file has been cut off since.
    """

    def __init__(self, path):
        self.path = path
        self._fd = -1
        try:
            # Not a fifo to hang on, nor a link to be led astray by.
            self._fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if os.path.islink(path):
                raise bad_block(path, "a symbolic link, not a block") from error
            raise
        self._check_file()
        self._check_header()

    def __del__(self):
        if self._fd >= 0:
            os.close(self._fd)

    def fileno(self):
        """The open file."""
        return self._fd

    def _check_file(self):
        about = os.fstat(self._fd)
        if os.geteuid() not in (0, about.st_uid):
            raise PermissionError(1, "this block belongs to another user", self.path)
        if not stat.S_ISREG(about.st_mode):
            raise bad_block(self.path, "not a regular file, so not a block")
        if about.st_size < _abi.BLOCK_BYTES:
            raise bad_block(self.path, f"cut off: {about.st_size} bytes of {_abi.BLOCK_BYTES}")

    def _check_header(self):
        header = self.header()
        for field, expected in _EXPECTED.items():
            found = getattr(header, field)
            if found != expected:
                what = "not a block" if field == "magic" else "a damaged block, or one of another version"
                raise bad_block(self.path, f"{what}: {field} is {found:#x}, not {expected:#x}")

    def read(self, offset, size):
        """`size` bytes from `offset`."""
        data = os.pread(self._fd, size, offset)
        if len(data) != size:
            raise bad_block(self.path, f"cut off before byte {offset + size}")
        return data

    def header(self):
        """A copy of the header. The limits in it belong together, unless a writer died half-way."""
        for _ in range(64):
            header = _abi.Header.from_buffer_copy(self.read(0, ctypes.sizeof(_abi.Header)))
            sequence = int.from_bytes(self.read(_abi.Header.limit_sequence.offset, 4), _abi.BYTE_ORDER)
            if sequence == header.limit_sequence and not sequence & 1:
                break
        return header

    def process(self, index):
        """A copy of a process slot. About 10 us."""
        offset = _abi.HEADER_BYTES + index * _abi.PROCESS_BYTES
        return _abi.Process.from_buffer_copy(self.read(offset, _abi.PROCESS_BYTES))

    def _processes(self):
        return ((index, self.process(index)) for index in range(min(self.header().process_high, _abi.PROCESSES)))

    def taken(self):
        """(index, copy) of the slots whose processes live and count."""
        return ((index, process) for index, process in self._processes() if _slot.is_taken(process))

    def is_in_use(self):
        """Whether any process of it lives."""
        return any(_slot.is_held(process) for _, process in self._processes())

    def slot(self, index):
        """The figures of a slot: a Slot."""
        earlier = self.process(index)
        return _slot.Slot(self.process(index), earlier)
