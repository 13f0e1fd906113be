"""The reserve of a Batch: how far below the limit the budget counts as crossed, for what processing takes.

The library keeps it, for the whole group, and learns it from what it is told of flushes.
"""

LEARN = "learn"
_LEARNED = -1  # for the library


def check(setting):
    """Raises TypeError or ValueError for what cannot be a Batch's `reserve`."""
    if setting is None or setting == LEARN:
        return
    if isinstance(setting, bool) or not isinstance(setting, int):
        raise TypeError(f"reserve must be bytes, {LEARN!r} or None, not {setting!r}")
    if setting < 0:
        raise ValueError(f"reserve must be at least 0 bytes, not {setting}")


class Reserve:
    """Sets the reserve of this process's group to `setting` bytes, or has it learned; tells of flushes.

    It is learned with the setting "learn", or with None where the limit is one that kills: a share of what the
    kernel allows, or with the footprint measured. Budgets of other processes, and none, are left alone.
    """

    def __init__(self, budget, setting=None):
        check(setting)
        view = getattr(budget, "_view", None)
        self._view = view if getattr(view, "can_reserve", False) else None
        if self._view is None:
            return
        if setting == LEARN or (setting is None and view.limit_may_kill()):
            view.set_reserve(_LEARNED)
        elif setting is not None:
            view.set_reserve(setting)

    def flush_begins(self):
        """Call before a batch is processed."""
        if self._view is not None:
            self._view.flush_begins()

    def flush_ends(self):
        """Call after it, whether it succeeded or not, before its memory is let go."""
        if self._view is not None:
            self._view.flush_ends()
