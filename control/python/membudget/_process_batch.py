"""What may be a process_batch: what would take the items and process none of them is told beforehand.

By the flags of its code: the module inspect, which tells the same, takes longer to load than all of this package.
"""

import functools
import types

_GENERATOR, _COROUTINE, _ITERABLE_COROUTINE, _ASYNC_GENERATOR = 0x20, 0x80, 0x100, 0x200
_OF_PYTHON = (types.FunctionType, types.MethodType)


def check(process_batch):
    """TypeError for what Batch would only begin: it calls process_batch, and is done."""
    flags = _flags(process_batch)
    if flags & (_COROUTINE | _ITERABLE_COROUTINE):
        raise TypeError("process_batch is a coroutine function: use membudget.AsyncBatch, which awaits it")
    _check_no_generator(flags)


def check_async(process_batch):
    """TypeError for what AsyncBatch could not await, as far as it can be told.

    Lambdas, wrappers and callable objects may return what another function gave them, an awaitable.
    """
    flags = _flags(process_batch)
    if flags & (_COROUTINE | _ITERABLE_COROUTINE):
        return
    _check_no_generator(flags)
    function = _below_partials(process_batch)
    is_plain = isinstance(function, _OF_PYTHON) and not hasattr(function, "__wrapped__")
    if is_plain and function.__name__ != "<lambda>":
        raise TypeError("process_batch must be a coroutine function (async def); for a plain one there is membudget.Batch")


def refuse_awaitable(result):
    """TypeError when that is what process_batch returned: nobody would await it."""
    if hasattr(result, "__await__"):
        if hasattr(result, "close"):
            result.close()  # it says so by itself otherwise, and later
        raise TypeError("process_batch returned an awaitable, so the items are kept: use membudget.AsyncBatch")


def check_awaitable(result):
    """`result`; TypeError when it cannot be awaited."""
    if not hasattr(result, "__await__") and not _flags_of_code(result, "gi_code") & _ITERABLE_COROUTINE:
        raise TypeError("process_batch returned no awaitable: it must be a coroutine function (async def)")
    return result


def _check_no_generator(flags):
    if flags & (_GENERATOR | _ASYNC_GENERATOR):
        raise TypeError("process_batch is a generator function: to call it does nothing")


def _below_partials(function):
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _flags(process_batch):
    if not callable(process_batch):
        raise TypeError("process_batch must be callable")
    function = _below_partials(process_batch)
    if not hasattr(function, "__code__") and not isinstance(function, type):
        function = type(function).__call__  # of a callable object
    return _flags_of_code(function, "__code__")


def _flags_of_code(holder, name):
    flags = getattr(getattr(holder, name, None), "co_flags", 0)
    return flags if isinstance(flags, int) else 0
