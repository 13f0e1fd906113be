"""SIGTERM as an orderly end: SystemExit at once, or after what must not be interrupted."""

import signal
import threading

_EXIT_STATUS = 128 + signal.SIGTERM


class Sigterm:
    """A handler of SIGTERM that raises SystemExit(143), once, unless it is held.

    While `holds` is above 0 the signal is only noted, for raise_if_pending(). So it is in the function with
    the code object `shielded`, which may not have come to hold it yet. Signals reach the main thread only:
    in others install() does nothing.
    """

    def __init__(self, shielded):
        self.holds = 0
        self._shielded = shielded
        self._previous = None
        self._is_installed = False
        self._is_pending = False
        self._is_raised = False

    def install(self):
        """Takes SIGTERM over."""
        if threading.current_thread() is threading.main_thread():
            self._is_pending = self._is_raised = False
            self._previous = signal.signal(signal.SIGTERM, self._handle)
            self._is_installed = True

    def restore(self):
        """Gives SIGTERM back to whoever had it. Does nothing when it was not installed."""
        if self._is_installed:
            self._is_installed = False
            # None: that handler was not installed from Python, and cannot be put back from here.
            signal.signal(signal.SIGTERM, self._previous or signal.SIG_DFL)

    def raise_if_pending(self):
        """Raises SystemExit when a signal came while it was held, and it no longer is."""
        if self._is_pending and not self._is_raised and self.holds == 0:
            self._is_raised = True
            raise SystemExit(_EXIT_STATUS)

    def _handle(self, signum, frame):
        self._is_pending = True
        if frame.f_code is not self._shielded:
            self.raise_if_pending()
