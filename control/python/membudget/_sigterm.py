"""SIGTERM as an orderly end: SystemExit at once, or after what must not be interrupted."""

import os
import signal
import threading

EXIT_STATUS = 128 + signal.SIGTERM


def may_take_over(on_sigterm):
    """Whether this thread should handle SIGTERM: True, False, or None for where nobody else does.

    Signals reach the main thread only: in others it never should.
    """
    if on_sigterm is False or threading.current_thread() is not threading.main_thread():
        return False
    return on_sigterm is True or signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def put_back(previous):
    """Makes `previous`, which signal.signal() returned, the handler again."""
    # None: that handler was not installed from Python, and cannot be put back from here.
    signal.signal(signal.SIGTERM, previous or signal.SIG_DFL)


class Sigterm:
    """A handler of SIGTERM that raises SystemExit(143), once, unless the main thread holds it off.

    While it is held the signal is only noted, for raise_if_pending(). So it is in the function with the code
    object `shielded` and what that calls, which may not have come to hold it yet. In a forked child, which has inherited
    the handler but not the reason for it, the signal does what it did before.
    """

    def __init__(self, shielded):
        self._holds = 0
        self._shielded = shielded
        self._previous = None
        self._pid = None  # of the process it is installed in
        self._is_pending = False
        self._is_raised = False

    def install(self, on_sigterm):
        """Takes SIGTERM over where may_take_over() says so, and it has not been yet."""
        if self._pid is None and may_take_over(on_sigterm):
            self._is_pending = self._is_raised = False
            self._previous = signal.signal(signal.SIGTERM, self._handle)
            self._pid = os.getpid()

    def restore(self):
        """Gives SIGTERM back to whoever had it. Does nothing when it is not installed, or in other threads."""
        if self._pid is not None and threading.current_thread() is threading.main_thread():
            self._pid = None
            put_back(self._previous)

    def hold(self):
        """Holds the signal off until release(). Calls nest; in other threads than the main one it does nothing."""
        if threading.current_thread() is threading.main_thread():
            self._holds += 1

    def release(self):
        """Ends a hold(). What came meanwhile is for raise_if_pending()."""
        if threading.current_thread() is threading.main_thread():
            self._holds -= 1

    def raise_if_pending(self):
        """Raises SystemExit in the main thread when a signal came while it was held, and it no longer is."""
        if not self._is_pending or self._is_raised or self._holds:
            return
        if threading.current_thread() is threading.main_thread():
            self._is_raised = True
            raise SystemExit(EXIT_STATUS)

    def _handle(self, signum, frame):
        if os.getpid() != self._pid:
            put_back(self._previous)
            os.kill(os.getpid(), signum)
            return
        self._is_pending = True
        if not self._is_shielded(frame):
            self.raise_if_pending()

    def _is_shielded(self, frame):
        while frame is not None and frame.f_code is not self._shielded:
            frame = frame.f_back
        return frame is not None
