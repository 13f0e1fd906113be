"""The streams: JSON lines with Zipf-like keys and heavy-tailed payloads, in three mixes, by seed."""

import os
import random

MIXES = {
    "20K": "payloads of 100 B to 20 KiB",
    "4M": "the same, and now and then 1 to 4 MiB",
    "60M": "the same, and now and then 60 MB",
}
_KEYS = 400_000
_TEXT = "".join(random.Random(0).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=20_480))


def _payload(random_, mix):
    if mix == "4M" and random_.random() < 0.0005:
        return "m" * random_.randrange(1 << 20, 4 << 20)
    if mix == "60M" and random_.random() < 0.00003:
        return "x" * 60_000_000
    return _TEXT[: int(100 * 205 ** random_.random())]


def path_of(folder, mix, seed, events):
    """The file of that stream, written when it is not there yet."""
    path = os.path.join(folder, f"{mix}-{seed}-{events}.jsonl")
    if os.path.exists(path):
        return path
    random_ = random.Random(f"{mix}/{seed}")
    with open(path + ".part", "w") as out:
        for _ in range(events):
            key = int(_KEYS * random_.random() ** 4)
            out.write(f'{{"key":"k{key}","payload":"{_payload(random_, mix)}"}}\n')
    os.replace(path + ".part", path)
    return path
