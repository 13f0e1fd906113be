"""The database: one row per key with its last payload and how many events it had."""

import json
import sqlite3


WAIT_S = 300  # for other consumers that write


class StoreError(Exception):
    """The database cannot be written; str() says which and why, for the user."""


class Store:
    """An SQLite file. What was in it stays; rows of keys that come again are brought up to date."""

    def __init__(self, path):
        self._path = path
        try:
            self._db = sqlite3.connect(path, timeout=WAIT_S, isolation_level="IMMEDIATE")
            self._db.execute("CREATE TABLE IF NOT EXISTS events (key TEXT PRIMARY KEY, payload TEXT, count INTEGER)")
            self._db.execute("CREATE TABLE IF NOT EXISTS positions (source TEXT PRIMARY KEY, position TEXT)")
            self._db.commit()
        except sqlite3.Error as error:
            raise self._explained(error) from error

    def write(self, batch, source=None, position=None):
        """Stores {key: [payload, count]} in one transaction: all of it or, with StoreError, nothing.

        With it goes how far the events of `source` are stored: what comes from there again can be told.
        """
        rows = ((key, as_text(payload), count) for key, (payload, count) in batch.items())
        try:
            with self._db:
                self._db.executemany(
                    "INSERT INTO events VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE"
                    " SET payload = excluded.payload, count = count + excluded.count",
                    rows,
                )
                if source is not None:
                    self._db.execute("INSERT OR REPLACE INTO positions VALUES (?, ?)", (source, position))
        except sqlite3.Error as error:
            raise self._explained(error) from error

    def position(self, source):
        """What the last write() of `source` said; None when there was none."""
        try:
            row = self._db.execute("SELECT position FROM positions WHERE source = ?", (source,)).fetchone()
        except sqlite3.Error as error:
            raise self._explained(error) from error
        return row[0] if row else None

    def count_events(self):
        """How many events all rows together had."""
        try:
            return self._db.execute("SELECT coalesce(sum(count), 0) FROM events").fetchone()[0]
        except sqlite3.Error as error:
            raise self._explained(error) from error

    def close(self):
        """Closes the file; what was written is in it."""
        self._db.close()

    def _explained(self, error):
        return StoreError(f"cannot write the database {self._path}: {error}")


def as_text(payload):
    """A payload as it is stored: a text as it is, anything else as JSON."""
    return payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False)
