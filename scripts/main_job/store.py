"""The database: one row per key with its last payload and how many events it had."""

import json
import sqlite3


class StoreError(Exception):
    """The database cannot be written; str() says which and why, for the user."""


class Store:
    """An SQLite file. What was in it stays; rows of keys that come again are brought up to date."""

    def __init__(self, path):
        self._path = path
        try:
            self._db = sqlite3.connect(path)
            self._db.execute("CREATE TABLE IF NOT EXISTS events (key TEXT PRIMARY KEY, payload TEXT, count INTEGER)")
            self._db.commit()
        except sqlite3.Error as error:
            raise self._explained(error) from error

    def write(self, batch):
        """Stores {key: [payload, count]} in one transaction: all of it or, with StoreError, nothing."""
        rows = ((key, as_text(payload), count) for key, (payload, count) in batch.items())
        try:
            with self._db:
                self._db.executemany(
                    "INSERT INTO events VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE"
                    " SET payload = excluded.payload, count = count + excluded.count",
                    rows,
                )
        except sqlite3.Error as error:
            raise self._explained(error) from error

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
