"""The examples in the package's README run, under the library, as they stand there."""

import os
import re
import unittest

from support import PACKAGE, run_preloaded

# What the examples take for granted, by a word they have in them; and what must be true afterwards.
SURROUNDINGS = {
    "attach()": ("", "assert budget.limit_bytes == 512 * 2**20"),
    "guard": ("""
import json
lines = [json.dumps(dict(key=key, payload="x" * 1000)) for key in range(100)]
""", "assert seen == [100]"),
    "threading": ("partitions = [[((p, key), bytes(1000)) for key in range(100)] for p in range(4)]",
                  "assert seen == [400]"),
    "asyncio": ("""
async def process_batch(items):
    seen.append(len(items))
async def source():
    for key in range(100):
        yield key, bytes(1000)
consumer = source()
""", "assert seen == [100]"),
    "drain": ("""
import collections
Entry = collections.namedtuple("Entry", "id key payload")
class Stream:
    entries = 20_000
    read_so_far = 0
    acknowledged = []
    def is_open(self):
        return self.read_so_far < self.entries
    def read(self, timeout):
        assert timeout is None or 0 <= timeout <= 60
        self.read_so_far += 1
        return Entry(self.read_so_far, self.read_so_far, bytes(10_000))
    def acknowledge(self, ids):
        self.acknowledged += ids
        assert len(self.acknowledged) == sum(seen)
stream = Stream()
write = process_batch
""", "assert stream.acknowledged == list(range(1, sum(seen) + 1)) and 1 <= len(seen) <= 3, seen"),
    "prepare_fork": ("", ""),
    "process_batch": ("consumer = [(key, bytes(1000)) for key in range(100)]", "assert seen == [100]"),
}
BEFORE = """
seen = []
def process_batch(items):
    seen.append(len(items))
"""


class ReadmeTest(unittest.TestCase):
    def test_examples(self):
        with open(os.path.join(PACKAGE, "README.md")) as file:
            examples = re.findall(r"```python\n(.*?)```", file.read(), re.S)
        unused = set(SURROUNDINGS)
        for example in examples:
            word = next(word for word in SURROUNDINGS if word in example)
            unused.discard(word)
            before, after = SURROUNDINGS[word]
            with self.subTest(word=word):
                run_preloaded(BEFORE + before + "\n" + example + "\n" + after, LIMIT="128M")
        self.assertEqual(unused, set())


if __name__ == "__main__":
    unittest.main()
