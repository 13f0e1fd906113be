"""The reserve: how much room below the limit processing a batch takes, as far as was seen.

The library raises CRITICAL at limit - reserve, so that a batch is handed over while there is still room for
what handing it over takes. A learning reserve begins careful and comes closer with every flush.
"""

_CAREFUL_SHARE = 0.15  # of the limit, before anything is known
_LEAST_SHARE = 0.01  # batches never fill more than 99 %
_MOST_SHARE = 0.60  # past it the batches are too large for the limit in any case
_MARGIN = 1.25  # times the worst that was seen
_CLOSER = 0.5  # the reserve falls to no less than this share of itself at a time

LEARN = "learn"


def check(setting):
    """Raises TypeError or ValueError for what cannot be a Batch's `reserve`."""
    if setting is None or setting == LEARN:
        return
    if isinstance(setting, bool) or not isinstance(setting, int):
        raise TypeError(f"reserve must be bytes, {LEARN!r} or None, not {setting!r}")
    if setting < 0:
        raise ValueError(f"reserve must be at least 0 bytes, not {setting}")


class Reserve:
    """Sets the group's reserve: to `setting` bytes, or by what flushes are seen to take.

    It learns with the setting "learn", or with None where the limit is a share of what the kernel allows or
    the footprint is measured: there the limit is one that kills. Does nothing where the budget is not this
    process's own, has no limit, or the preloaded library cannot keep a reserve.

    Other processes of the group may learn, too. What they have set is only ever raised; lowered is a first,
    careful value, or one's own.
    """

    def __init__(self, budget, setting=None):
        check(setting)
        self.worst_bytes = 0  # the most that a flush has taken
        self._view = getattr(budget, "_view", None)
        can_reserve = getattr(self._view, "can_reserve", False)
        self._is_learning = can_reserve and (setting == LEARN or (setting is None and self._view.limit_may_kill()))
        self._set_by_me = None
        self._start = None
        self._was_crossed = False
        if self._is_learning:
            self._begin_careful()
        elif can_reserve and setting is not None:
            self._view.set_reserve(min(setting, self._view.header().limit_bytes or setting))

    def _begin_careful(self):
        header = self._view.header()
        if header.limit_bytes and not header.reserve_bytes:
            self._set(self._careful_bytes(header.limit_bytes))

    def flush_begins(self, crossed):
        """Call before a batch is processed, and whether that is because the budget is crossed."""
        if self._is_learning:
            self._was_crossed = crossed
            self._start = self._view.usage()

    def flush_ended(self):
        """Call after it, whether it succeeded or not, before its memory is let go."""
        start, self._start = self._start, None
        if start is None:
            return
        now = self._view.usage()
        # Counted bytes at their highest are known only when that was higher than ever before. If not, all
        # that can be said is that it was not more than that.
        room_below_peak = max(0, start.peak_counted_bytes - start.counted_bytes)
        has_new_peak = now.peak_counted_bytes > start.peak_counted_bytes
        highest = now.peak_counted_bytes + start.overhead_bytes if has_new_peak else 0
        rise = max(highest, now.figure_bytes) - start.figure_bytes
        self.worst_bytes = max(self.worst_bytes, rise)
        self._adapt(0 if has_new_peak else room_below_peak)

    def _adapt(self, possible_bytes):
        """Brings the reserve in line with the worst rise seen; it is not lowered below `possible_bytes`'s."""
        header = self._view.header()
        limit, present = header.limit_bytes, header.reserve_bytes
        if not limit:
            return
        needed = self._needed_bytes(self.worst_bytes, limit)
        if needed > present:
            self._set(needed)
        elif self._was_crossed and present in (self._set_by_me, self._careful_bytes(limit)):
            lowest = max(needed, min(present, self._needed_bytes(possible_bytes, limit)))
            self._set(max(lowest, int(present * _CLOSER)))

    @staticmethod
    def _careful_bytes(limit):
        return int(limit * _CAREFUL_SHARE)

    @staticmethod
    def _needed_bytes(rise, limit):
        least = int(limit * _LEAST_SHARE)
        return min(int(rise * _MARGIN) + least, int(limit * _MOST_SHARE))

    def _set(self, reserve_bytes):
        self._set_by_me = reserve_bytes
        self._view.set_reserve(reserve_bytes)
