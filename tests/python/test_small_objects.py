"""A dict of a million small objects is counted as what it takes, with every allocator, whether CPython takes
small objects from malloc or from arenas of its own; and clearing it is seen.

Counted bytes are compared with the growth of anonymous memory, after free memory has been handed back.
Two things are known to lie between them: the eight bytes that glibc puts before each block, which are not
usable, and the end of the dict's table, which an allocator may round up and nobody touches.
"""

import json
import unittest

from support import ALLOCATORS, BlockTestCase, run_preloaded

FILL_AND_CLEAR = """
import ctypes, gc, json, membudget, sys

def anonymous_bytes():
    with open("/proc/self/smaps_rollup") as file:
        return sum(int(line.split()[1]) * 1024 for line in file if line.startswith("Anonymous:"))

def measure():
    budget.trim()
    snapshot = budget.snapshot()
    return [snapshot.counted_bytes, anonymous_bytes(), snapshot.allocations - snapshot.frees]

def untouched_bytes(size):
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    libc.malloc.argtypes = [ctypes.c_size_t]
    libc.malloc_usable_size.restype = ctypes.c_size_t
    libc.malloc_usable_size.argtypes = libc.free.argtypes = [ctypes.c_void_p]
    block = libc.malloc(size)
    usable = libc.malloc_usable_size(block)
    libc.free(block)
    return usable - size

budget = membudget.attach()
gc.disable()
measure()
before = measure()
objects = {number: (number, str(number)) for number in range(1_000_000)}
full = measure()
rounding = untouched_bytes(sys.getsizeof(objects))
objects.clear()
cleared = measure()
print(json.dumps([before, full, cleared, rounding]))
"""


class MillionObjectsTest(BlockTestCase):
    def check(self, allocator, python_malloc):
        printed = run_preloaded(FILL_AND_CLEAR, allocator, PYTHONMALLOC=python_malloc)
        before, full, cleared, rounding = json.loads(printed)
        counted, anonymous, blocks = (now - then for now, then in zip(full, before))
        taken = counted - rounding + (8 * blocks if allocator == "ptmalloc" else 0)
        self.assertGreater(anonymous, 150e6)
        self.assertLess(abs(taken / anonymous - 1), 0.03, f"{taken} taken, {anonymous} anonymous")
        self.assertEqual(python_malloc == "malloc", blocks > 1_000_000)
        left = cleared[0] - before[0]
        self.assertLess(left / counted, 0.03, f"{left} of {counted} still counted")


def add_tests():
    for allocator in ALLOCATORS:
        for python_malloc in ("malloc", "keep"):
            def test(self, allocator=allocator, python_malloc=python_malloc):
                self.check(allocator, python_malloc)

            setattr(MillionObjectsTest, f"test_{allocator}_{python_malloc}", test)


add_tests()

if __name__ == "__main__":
    unittest.main()
