"""The streams: Zipf-like keys and heavy-tailed payloads, in three mixes, by seed. Made as they are read."""

import random

MIXES = {
    "20K": "payloads of 100 B to 20 KiB",
    "4M": "the same, and now and then 1 to 4 MiB",
    "60M": "the same, and now and then 60 MB",
}
_KEYS = 400_000
_SMALLEST, _LARGEST = 100, 20 << 10
_TEXT = bytes(random.Random(0).choices(b"abcdefghijklmnopqrstuvwxyz0123456789", k=1 << 18))
_SIZES = [int(_SMALLEST * (_LARGEST / _SMALLEST) ** (i / 4096)) for i in range(4096)]


def events_of(mix, seed, events):
    """Yields (key's number, offset, bytes): what line() makes a line of. Holds next to nothing itself."""
    dice = random.Random(f"{mix}/{seed}").random
    large_share = {"20K": 0, "4M": 0.0005, "60M": 0.00003}[mix]
    for _ in range(events):
        number, place = int(_KEYS * dice() ** 3), dice()
        size = _SIZES[int(place * 4096)]
        offset = number * 61 & 0x3FFF
        if place < large_share:
            size = 60_000_000 if mix == "60M" else int((1 << 20) + dice() * (3 << 20))
        yield number, offset, size


def line(offset, size):
    """What would be read from a socket: fresh bytes."""
    if size > _LARGEST:
        return b"x" * size
    return _TEXT[offset : offset + size]
