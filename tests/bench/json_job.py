"""A Python job as services have them: events out of JSON into dicts, the last of each key kept, written again.

  json_job.py [SCALE]
"""

import json
import random
import sys


def lines(count, rng):
    """Events as they come over the wire."""
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(3, 12))) for _ in range(500)]
    for i in range(count):
        key = int(rng.paretovariate(0.2)) % 50_000
        yield json.dumps({
            "key": f"user-{key}", "sequence": i, "score": rng.random(), "tags": rng.choices(words, k=4),
            "address": {"street": rng.choice(words), "number": i % 300, "city": rng.choice(words)},
            "text": " ".join(rng.choices(words, k=rng.randint(5, 40))),
        })


def work(events):
    """One batch after another: parse, keep the last of each key, count words, write."""
    batch, words, written = {}, {}, 0
    for line in events:
        event = json.loads(line)
        batch[event["key"]] = event
        for word in event["text"].split():
            words[word] = words.get(word, 0) + 1
        if len(batch) >= 5_000:
            written += sum(len(json.dumps(kept, sort_keys=True)) for kept in batch.values())
            batch.clear()
    return written, len(batch), len(words)


def main():
    scale = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    print(*work(list(lines(int(80_000 * scale), random.Random(7)))))


if __name__ == "__main__":
    main()
