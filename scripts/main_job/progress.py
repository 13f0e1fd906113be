"""What a run shows while it lasts, on standard error: a line that is rewritten, or a line now and then."""

import sys
import time

_MIB = 2**20


class Progress:
    """Call show() as often as is handy; it prints as often as is useful."""

    def __init__(self, budget, expected_events=None):
        self._budget = budget
        self._expected = expected_events
        self._is_terminal = sys.stderr.isatty()
        self._interval = 0.2 if self._is_terminal else 5.0
        self._started = time.monotonic()
        self._next = self._started + self._interval
        self._width = 0

    def show(self, events, batches, held, is_writing=False):
        """Prints how far things are, unless that was done a moment ago. Half a microsecond mostly."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + self._interval
        share = f" ({100 * events / self._expected:.0f} %)" if self._expected else ""
        limit = self._budget.limit_bytes
        memory = f"{self._budget.counted_bytes / _MIB:.0f}" + (f" of {limit / _MIB:.0f}" if limit else "")
        text = (
            f"{events:,} events{share}, {events / (now - self._started):,.0f}/s; {batches} batches; "
            f"{'writing' if is_writing else 'holding'} {held:,} items; {memory} MiB"
        )
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
