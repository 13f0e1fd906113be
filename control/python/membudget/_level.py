"""Level, and Reader: the two attributes of Budget that are read at every insertion."""

import enum

from . import _abi


class Level(enum.IntEnum):
    """How pressed for memory the group is. Compare with >=; numbers as in GLib's GMemoryMonitor."""

    NONE = _abi.NONE
    LOW = _abi.LOW
    MEDIUM = _abi.MEDIUM
    CRITICAL = _abi.CRITICAL


# A tuple of all bytes makes the property two index operations; none in it is above what the byte says.
LEVELS = tuple(max(level for level in Level if level <= byte) for byte in range(256))


class PlainReader:
    """What _membudget.Reader is, in Python: for where that module was not built."""

    __slots__ = ("_level_byte",)

    def _read_from(self, view, levels):
        """Where the level is read from now on; `levels` is always LEVELS."""
        self._level_byte = view.level_byte

    @property
    def level(self):
        """The group's Level right now. One load from memory, no system call (another's: one pread)."""
        return LEVELS[self._level_byte[0]]

    @property
    def crossed(self):
        """Whether the budget is crossed: level is CRITICAL. Costs what level costs."""
        return self._level_byte[0] == 255


try:
    from _membudget import Reader
except ImportError:
    Reader = PlainReader
