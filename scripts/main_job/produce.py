#!/usr/bin/env python3
"""Puts lines from standard input into the Redis stream that the consumer reads, and an end after the last.

Waits while many entries have not been delivered yet, so that the server holds little more than the consumer.
"""

import argparse
import itertools
import sys
import time

from redis_stream import STREAM, StreamError, connect, counts, create_group

AT_ONCE = 100
MOST_UNDELIVERED = 1000


def produce(connection, lines):
    """Adds all lines."""
    lines = iter(lines)
    while True:
        some = list(itertools.islice(lines, AT_ONCE))
        if not some:
            break
        with connection.pipeline(transaction=False) as commands:
            for line in some:
                commands.xadd(STREAM, {"event": line.rstrip(b"\n")})
            commands.execute()
        while True:
            entries, pending = counts(connection)
            if entries - pending < MOST_UNDELIVERED:
                break
            time.sleep(0.005)
    connection.xadd(STREAM, {"end": ""})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--redis", required=True, help="the server's unix socket")
    arguments = parser.parse_args()
    connection = connect(arguments.redis)
    try:
        create_group(connection)
        produce(connection, sys.stdin.buffer)
    except (StreamError, OSError) as error:
        return f"produce: {error}"
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
