#!/usr/bin/env python3
"""Writes JSON lines {"key": ..., "payload": ...} to standard output, the same ones for the same seed.

Keys follow a Zipf law: the k-th most frequent one turns up in proportion to k ** -0.9. Payloads are ASCII
text of 100 B to 20 KiB, as many between 100 and 200 B as between 10 and 20 KB: half of them are smaller
than 1.4 KiB, and nine tenths of all bytes are in the other half.
"""

import argparse
import itertools
import os
import random
import signal
import string
import sys

SMALLEST, LARGEST = 100, 20 * 1024
ZIPF_EXPONENT = 0.9
AT_ONCE = 1000


def lines(events, keys, seed):
    """Yields `events` JSON lines, in texts of many."""
    dice = random.Random(seed)
    weights = list(itertools.accumulate(rank**-ZIPF_EXPONENT for rank in range(1, keys + 1)))
    text = "".join(dice.choices(string.ascii_letters + string.digits + " ", k=4 * LARGEST))
    for start in range(0, events, AT_ONCE):
        numbers = dice.choices(range(keys), cum_weights=weights, k=min(AT_ONCE, events - start))
        yield "".join(line(number, text, dice) for number in numbers)


def line(number, text, dice):
    """One event."""
    offset = int(dice.random() * 3 * LARGEST)
    size = int(SMALLEST * (LARGEST / SMALLEST) ** dice.random())
    return f'{{"key": "user-{number:07d}", "payload": "{text[offset:offset + size]}"}}\n'


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--keys", type=int, default=1_000_000, help="how many different ones there are")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the consumer decides when it has had enough
    try:
        for text in lines(arguments.events, arguments.keys, arguments.seed):
            sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
