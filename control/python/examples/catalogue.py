"""A WSGI application that loads its data when it is imported: in a prefork server before the workers are forked,
so that they share it.

    /              how many rows there are, and whether garbage is collected
    /sum?rows=N    reads the first N rows, all of them without N
    /collect       collects garbage
    /cache?mib=N   has the worker keep N MiB of its own
"""

import gc
import json
import os
from urllib.parse import parse_qs

_BYTES_PER_ROW = 512  # dict, text, number and list as CPython keeps them


def load(mib):
    """About `mib` MiB of rows."""
    return [
        {"id": number, "name": f"article {number}", "price": number / 100, "tags": [f"tag {number % 100}", number % 7]}
        for number in range((mib << 20) // _BYTES_PER_ROW)
    ]


ROWS = load(int(os.environ.get("CATALOGUE_MIB", "200")))
CACHE = []


def total(rows):
    """The price of the first `rows` rows. Looks at all that is in them."""
    return sum(row["price"] for row in ROWS[:rows] if row["name"] and all(tag is not None for tag in row["tags"]))


def fill_cache(mib):
    """Keeps at least that much."""
    while len(CACHE) < mib:
        CACHE.append([bytes(1000) for _ in range((1 << 20) // 1033)])
    return len(CACHE)


def application(environ, start_response):
    """What a WSGI server calls for each request."""
    arguments = {name: int(values[0]) for name, values in parse_qs(environ.get("QUERY_STRING", "")).items()}
    actions = {
        "/": lambda: {"rows": len(ROWS), "collects": gc.isenabled()},
        "/sum": lambda: total(arguments.get("rows", len(ROWS))),
        "/collect": gc.collect,
        "/cache": lambda: fill_cache(arguments.get("mib", 1)),
    }
    action = actions.get(environ["PATH_INFO"])
    if action is None:
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"not found\n"]
    answer = {"pid": os.getpid(), "result": action()}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(answer).encode()]
