"""The database that batches are written to.

Made, and its file filled up, from outside of the cgroup: so the page cache that it is written to is charged to
nobody in there, as when a database server of its own had it, and no run waits for the disk.
"""

import os
import sqlite3

_PAGE_BYTES = 1 << 16
_HEAD_PAGES = 2  # of an empty database with one table
_ROOM_SHARE = 5 / 4  # of the cgroup: for a batch and what pages leave unused
_INSERT = "INSERT INTO events VALUES (?, ?, ?)"
_LARGE_BYTES = 1 << 20  # from here on in pieces: SQLite then has one copy of the value, not two
_PIECE = 1 << 18


def prepare(path, limit_bytes):
    """Leaves an empty database at `path` whose file has room for a batch; an earlier one's file is used again."""
    new = path + ".new"
    if os.path.exists(new):
        os.unlink(new)
    database = sqlite3.connect(new)
    database.execute(f"PRAGMA page_size={_PAGE_BYTES}")
    database.execute("CREATE TABLE events (key TEXT, payload TEXT, count INTEGER)")
    database.close()
    with open(new, "rb") as file:
        head = file.read()
    os.unlink(new)
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
        file.write(head)  # says how many pages there are, whatever comes after them
        file.seek(0, os.SEEK_END)
        nothing = bytes(1 << 20)
        while file.tell() < limit_bytes * _ROOM_SHARE:
            file.write(nothing)


class Store:
    """Holds one batch at a time: a next one takes its place."""

    def __init__(self, path):
        self._path = path
        with open(path, "rb") as file:
            self._head = file.read(_HEAD_PAGES * _PAGE_BYTES)
        self._open()

    def _open(self):
        self._database = sqlite3.connect(self._path, isolation_level=None)
        for setting in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", "secure_delete=OFF"):
            self._database.execute(f"PRAGMA {setting}").fetchall()

    def write(self, rows):
        """(key, payload, count) each, in one transaction; an exception leaves it as new."""
        try:
            self._write(rows)
        except BaseException:
            self._start_anew()
            raise

    def _start_anew(self):
        """There is no journal to roll back by."""
        self._database.close()
        with open(self._path, "r+b") as file:
            file.write(self._head)
        self._open()

    def _write(self, rows):
        self._database.execute("BEGIN")
        self._database.execute("DELETE FROM events")
        large = []
        self._database.executemany(_INSERT, _small_ones(rows, large))
        for row in large:
            self._write_large(*row)
        self._database.execute("COMMIT")

    def _write_large(self, key, payload, count):
        insert = "INSERT INTO events VALUES (?, zeroblob(?), ?)"
        number = self._database.execute(insert, (key, len(payload), count)).lastrowid
        with self._database.blobopen("events", "payload", number) as blob:
            for start in range(0, len(payload), _PIECE):
                blob.write(payload[start : start + _PIECE].encode())


def _small_ones(rows, large):
    for row in rows:
        if len(row[1]) < _LARGE_BYTES:
            yield row
        else:
            large.append(row)
