"""Events from a file descriptor, one JSON line each, until its end or a signal."""

import json
import os
import select
import signal

_CHUNK = 1 << 16


class Interrupt:
    """SIGTERM and SIGINT as something to look at and to wait for, instead of the end.

    With is_ignored they are neither: who feeds this process has got them, too, and ends the input.
    """

    def __init__(self, is_ignored=False):
        self.signal = None
        self.fd, write_fd = os.pipe()
        os.set_blocking(write_fd, False)
        signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN if is_ignored else self._note)

    def _note(self, number, frame):
        self.signal = self.signal or number


def read_lines(fd, interrupt, guard):
    """Yields complete lines, as bytes; a last one without a newline only at the end of the input.

    guard(function, *arguments) calls what takes memory, and sees to it that there is some. After an interrupt
    nothing more is read, but what was read is still handed out: it is in no pipe any more for anyone else to read.
    """
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    poll.register(interrupt.fd, select.POLLIN)
    pieces = []  # of the line that has begun
    while not interrupt.signal:
        ready = dict(poll.poll())
        if fd not in ready:
            continue
        chunk = guard(os.read, fd, _CHUNK)
        if not chunk:
            if pieces:
                yield guard(b"".join, pieces)
            return
        first, *others = chunk.split(b"\n")
        pieces.append(first)
        if others:
            line = guard(b"".join, pieces)
            pieces.clear()
            yield line
            del line
            yield from others[:-1]
            pieces = [others[-1]] if others[-1] else []


def parse(line):
    """(key, payload) of a line. ValueError says what is wrong with it."""
    try:
        event = json.loads(line)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(event, dict) or "key" not in event or "payload" not in event:
        raise ValueError('not of the form {"key": ..., "payload": ...}')
    key, payload = event["key"], event["payload"]
    if not isinstance(key, str):
        raise ValueError("the key is not a string")
    if b"\\u" in line:  # may hold half a surrogate pair, which no text can be encoded with
        json.dumps([key, payload], ensure_ascii=False).encode()
    return key, payload


def position(id_):
    """The id of a stream's entry as something to compare."""
    milliseconds, _, number = id_.partition("-")
    return int(milliseconds), int(number)
