"""The turn of those processes of a group that were refused memory: one at a time tries again.

Each of them may need all that is free. Where several try, each gets a part and fails at the rest, again and again.

The turn is a lock on the group's block, of the open file: it ends with the process, however that ends.
"""

import fcntl
import os
import struct

from ._block import path_of

_LOCK = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0)  # struct flock of 64-bit Linux
_SET_LOCK = getattr(fcntl, "F_OFD_SETLK", 37)  # from Python 3.9 on it has a name


class Turn:
    """To be asked for with take(), and given up with leave(). Where the block cannot be opened it is everybody's.

    `is_mine`: whether this process has it, as last asked for.
    """

    def __init__(self, group):
        self.is_mine = False
        try:
            self._file = os.open(path_of(group), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            self._file = None

    def take(self):
        """Whether this process has the turn, now or already. Does not wait."""
        if not self.is_mine:
            self.is_mine = self._file is None or self._can_lock()
        return self.is_mine

    def leave(self):
        """Lets the next one have it."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self.is_mine = False

    def _can_lock(self):
        try:
            fcntl.fcntl(self._file, _SET_LOCK, _LOCK)
        except BlockingIOError:
            return False
        except OSError:
            return True  # no such locks here
        return True
