"""Sleeping on a word of memory until it changes: futex(2), by way of ctypes, which releases the GIL."""

import ctypes
import errno
import os

_CALL_NUMBERS = {"x86_64": 202, "aarch64": 98, "riscv64": 98, "loongarch64": 98, "ppc64le": 221, "s390x": 238}
_FUTEX_WAIT, _FUTEX_WAKE = 0, 1  # not the private kind: the word is shared between processes
_EVERYONE = 2**31 - 1


class _Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


def _load():
    number = _CALL_NUMBERS.get(os.uname().machine) if ctypes.sizeof(ctypes.c_void_p) == 8 else None
    if number is None:
        raise OSError(errno.ENOSYS, f"waiting is not supported on {os.uname().machine}")
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    call.argtypes = [ctypes.c_long, ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32, ctypes.POINTER(_Timespec)]
    return call, number


_syscall = None


def _futex(address, operation, value, timespec):
    global _syscall
    if _syscall is None:
        _syscall = _load()
    call, number = _syscall
    return 0 if call(number, address, operation, value, timespec) >= 0 else ctypes.get_errno()


def wait(address, seen, timeout=None):
    """Sleeps while the 32-bit word at `address` is `seen`, for `timeout` seconds at most.

    May return early, for a signal above all: look at the word again. OSError where the memory is gone.
    """
    timespec = None
    if timeout is not None:
        seconds = min(max(timeout, 0.0), 1e9)
        timespec = _Timespec(int(seconds), int(seconds % 1 * 1e9))
    error = _futex(address, _FUTEX_WAIT, seen, timespec)
    if error not in (0, errno.EAGAIN, errno.EINTR, errno.ETIMEDOUT):
        raise OSError(error, os.strerror(error))


def wake(address):
    """Wakes everyone who sleeps on the word."""
    _futex(address, _FUTEX_WAKE, _EVERYONE, None)
