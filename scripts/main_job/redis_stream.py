"""Events from a Redis stream, each delivered until it is acknowledged: what a killed consumer held comes again.

An entry has one field: `event`, the event's text, or `end` in the last one, when the producer has no more.
"""

import contextlib
import sys
import uuid

try:
    import redis
except ImportError:  # a python3 that is not Debian's, whose package it is; it is pure Python
    sys.path.append("/usr/lib/python3/dist-packages")
    import redis

StreamError = redis.RedisError
STREAM, GROUP, CONSUMER = "events", "main-job", "consumer"
_IDENTITY = f"{STREAM}:identity"
_ENTRIES_AT_ONCE = 64
_ACKNOWLEDGED_AT_ONCE = 1000


def connect(socket_path):
    """A connection to the server; a first command shows whether there is one."""
    return redis.Redis(unix_socket_path=socket_path)


@contextlib.contextmanager
def connected(socket_path):
    """connect() for the time of a `with` block."""
    connection = connect(socket_path)
    try:
        yield connection
    finally:
        connection.connection_pool.disconnect()


class EventStream:
    """One consumer of the group: first what was delivered to it before and not acknowledged, then what is new.

    Entries come in the order of their ids. StreamError from every method when the server is not there.
    """

    def __init__(self, connection):
        self._redis = connection
        self._after = "0"  # of what was delivered before; then ">": what was never delivered
        create_group(connection)
        connection.set(_IDENTITY, uuid.uuid4().hex, nx=True)
        self.identity = connection.get(_IDENTITY).decode()  # of this stream, however often the server is started

    def read(self, timeout):
        """[(id, text)] of the next entries; none after `timeout` seconds. A text of None is the end.

        After MemoryError, once all that came before is acknowledged, it begins with what was lost then.
        """
        try:
            streams = self._redis.xreadgroup(
                GROUP, CONSUMER, {STREAM: self._after}, count=_ENTRIES_AT_ONCE, block=int(timeout * 1000)
            )
        except MemoryError:
            self._redis.connection_pool.disconnect()  # in the middle of an answer
            self._after = "0"
            raise
        entries = streams[0][1] if streams else []
        if self._after != ">":
            self._after = entries[-1][0] if entries else ">"
        return [(id_.decode(), _text(fields)) for id_, fields in entries]

    def acknowledge(self, ids):
        """Ends the delivery of these entries, and deletes them: nobody else reads this stream."""
        for start in range(0, len(ids), _ACKNOWLEDGED_AT_ONCE):
            some = ids[start : start + _ACKNOWLEDGED_AT_ONCE]
            with self._redis.pipeline(transaction=True) as commands:
                commands.xack(STREAM, GROUP, *some)
                commands.xdel(STREAM, *some)
                commands.execute()


def _text(fields):
    fields = fields or {}  # none: somebody has deleted the entry since it was delivered
    return None if b"end" in fields else fields.get(b"event", b"")


def create_group(connection):
    """Creates stream and group, which reads from the start, unless they are there."""
    try:
        connection.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    except redis.ResponseError as error:
        if not str(error).startswith("BUSYGROUP"):
            raise


def counts(connection):
    """(entries in the stream, entries delivered and not acknowledged)."""
    return connection.xlen(STREAM), connection.xpending(STREAM, GROUP)["pending"]
