"""Changing other processes' budgets: the few calls of libmembudget-client that Python cannot do itself."""

import ctypes
import errno
import glob
import os

_NAME = "libmembudget-client.so.1"
_library = None


def _candidates():
    """Where the library may be: in the prefix of this package, in its build tree, where the loader looks."""
    package = os.path.dirname(os.path.abspath(__file__))
    prefix = os.path.abspath(os.path.join(package, *[os.pardir] * 4))
    source = os.path.abspath(os.path.join(package, *[os.pardir] * 3))
    for pattern in ("lib/", "lib/*-linux-*/", "lib64/"):
        yield from sorted(glob.glob(os.path.join(prefix, pattern + _NAME)))
    yield from sorted(glob.glob(os.path.join(source, "build", "release*", "control", "client", _NAME)))
    yield from sorted(glob.glob(os.path.join(source, "build", "*", "control", "client", _NAME)))
    yield _NAME


def _load():
    global _library
    if _library is None:
        for path in _candidates():
            try:
                library = ctypes.CDLL(path)
                break
            except OSError:
                continue
        else:
            raise NotImplementedError(f"{_NAME} was not found; it is needed to change another process's budget")
        library.membudget_open.argtypes = [ctypes.c_char_p, ctypes.POINTER(ctypes.c_void_p)]
        library.membudget_open_group.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.POINTER(ctypes.c_void_p)]
        library.membudget_close.argtypes = [ctypes.c_void_p]
        library.membudget_close.restype = None
        library.membudget_set_limit.argtypes = [ctypes.c_void_p, ctypes.c_int64]
        library.membudget_trim.argtypes = [ctypes.c_void_p]
        _library = library
    return _library


def _open(library, target, is_group, handle):
    if is_group:  # whose name may be a pid
        return library.membudget_open_group(None, target.encode(), ctypes.byref(handle))
    return library.membudget_open(target.encode(), ctypes.byref(handle))


def _call(function, target, is_group, *arguments):
    library = _load()
    handle = ctypes.c_void_p()
    error = _open(library, target, is_group, handle)
    if error == 0:
        try:
            error = getattr(library, function)(handle, *arguments)
        finally:
            library.membudget_close(handle)
    if error:
        code = errno.ESRCH if error == -errno.ENOENT else -error
        raise OSError(code, f"{target}: {os.strerror(code)}")


def set_limit(target, is_group, limit_bytes):
    """Sets the limit of the target, a group's name or a pid. OSError; NotImplementedError without the library."""
    _call("membudget_set_limit", target, is_group, limit_bytes)


def trim(target, is_group):
    """Has the target hand free memory back, and waits for it, 5 s at most. As set_limit; TimeoutError."""
    _call("membudget_trim", target, is_group)
