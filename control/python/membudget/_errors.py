"""What attach() raises."""

import errno
import os

HOW_TO_START = "start it with: membudget run --limit 512M -- python3 app.py"


class NotAttached(RuntimeError):
    """There is no budget to attach to: this program, or the target, does not run under membudget."""


class TargetNotFound(NotAttached, LookupError):
    """No living process or group of that pid or name runs under membudget."""


class BadBlock(OSError, NotAttached):
    """The file is no block, a damaged one, or one of another version of membudget. errno is EPROTO."""


def bad_block(path, why):
    """A BadBlock for the file at `path`."""
    return BadBlock(errno.EPROTO, why, os.fspath(path))
