"""What a run shows while it lasts, on standard error: a line that is rewritten, or a line now and then."""

import sys
import time

_MIB = 2**20


class Rate:
    """How fast events come. Call show() as often as is handy; it prints as often as is useful."""

    def __init__(self, expected_events=None):
        self._expected = expected_events
        self._is_terminal = sys.stderr.isatty()
        self._interval = 0.2 if self._is_terminal else 5.0
        self._started = time.monotonic()
        self._next = self._started + self._interval
        self._width = 0

    def is_due(self):
        """Whether show() would print. Half a microsecond."""
        return time.monotonic() >= self._next

    def show(self, events, more):
        """Prints how far things are, unless that was done a moment ago."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + self._interval
        share = f" ({100 * events / self._expected:.0f} %)" if self._expected else ""
        text = f"{events:,} events{share}, {events / (now - self._started):,.0f}/s; {more}"
        if self._is_terminal:
            sys.stderr.write("\r" + text.ljust(self._width))
            self._width = len(text)
        else:
            sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def clear(self):
        """Takes the line off the terminal, so that something else can be printed."""
        if self._width:
            sys.stderr.write("\r" + " " * self._width + "\r")
            sys.stderr.flush()
            self._width = 0


class Progress:
    """What a consumer shows: the rate, its batches and its memory."""

    def __init__(self, budget, expected_events=None, is_quiet=False):
        self._budget = budget
        self._rate = Rate(expected_events)
        self._is_quiet = is_quiet

    def show(self, events, batches, held, is_writing=False):
        """Prints how far things are, unless that was done a moment ago. Half a microsecond mostly."""
        if self._is_quiet or not self._rate.is_due():
            return
        limit = self._budget.limit_bytes
        memory = f"{self._budget.counted_bytes / _MIB:.0f}" + (f" of {limit / _MIB:.0f}" if limit else "")
        doing = "writing" if is_writing else "holding"
        self._rate.show(events, f"{batches} batches; {doing} {held:,} items; {memory} MiB")

    def clear(self):
        """Takes the line off the terminal, so that something else can be printed."""
        self._rate.clear()
