"""attach(): finding a budget. And keeping this process's own right across forks."""

import os

from . import _own
from ._budget import Budget
from ._errors import NotAttached, TargetNotFound

_own_budget = None


def attach(target=None, required=True):
    """The Budget of `target`: a pid, a group's name, or None for this process.

    Without a target it is the same object every time, and right in forked children, too; in those that are not counted
    (MEMBUDGET_CHILDREN=ignore) it reads as zeros, and attach() raises as in any program without a budget. A text of digits
    is taken for a pid first, then for a name.

    NotAttached where there is no budget: with required=False, one that never presses (level NONE, all
    sizes 0) comes back instead, so that a program runs with and without the library. BadBlock (damaged,
    another version) and PermissionError (another user's) are raised in any case; ValueError for a name
    that no group can have.
    """
    try:
        if target is None or target == os.getpid():
            return _attach_own()
        return Budget(_find(target))
    except NotAttached as error:
        if required or isinstance(error, OSError):
            raise
        return Budget(_own.OwnView())


def _find(target):
    from . import _other  # most programs only ever look at themselves

    if isinstance(target, int):
        return _other.find_process(target)
    if not isinstance(target, str):
        raise TypeError(f"target must be a pid, a name or None, not {type(target).__name__}")
    if not (target.isascii() and target.isdigit()) or target.startswith("0"):
        return _other.find_group(target)
    try:
        return _other.find_process(int(target))
    except TargetNotFound as not_a_process:
        try:
            return _other.find_group(target)
        except TargetNotFound:
            raise not_a_process from None


def _attach_own():
    global _own_budget
    if _own_budget is None:
        _own_budget = Budget(_own.find())
        os.register_at_fork(after_in_child=_refresh)
    _own_budget._view.check_there()  # a forked child may not be counted
    return _own_budget


def _refresh():
    _own_budget._view.refresh()
    _own_budget._follow_view()
