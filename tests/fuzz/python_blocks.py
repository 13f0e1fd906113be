"""The Python readers on mutated blocks, always the same ones: they give figures, or one of the errors they promise."""

import argparse
import ctypes
import os
import random
import shutil
import subprocess
import tempfile

import membudget
from membudget import _abi, _block

REACHED = _abi.HEADER_BYTES + 2 * _abi.PROCESS_BYTES
WORDS = (bytes(8), b"\xff" * 8, b"\xff" * 7 + b"\x7f", bytes(7) + b"\x80", b"\x01" + bytes(7))
PROMISED = (membudget.BadBlock, membudget.TargetNotFound, ProcessLookupError, PermissionError, FileNotFoundError)


def good_block(folder):
    """A block with a living process in it: (the process, the bytes that count)."""
    environment = dict(os.environ, LD_PRELOAD=os.environ["TEST_LIBRARY"], MEMBUDGET_DIR=folder, MEMBUDGET_NAME="good")
    program = subprocess.Popen(["cat"], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    program.stdin.write(b"\n")
    program.stdin.flush()
    program.stdout.read(1)
    with open(os.path.join(folder, "membudget-good"), "rb") as file:
        return program, file.read(REACHED)


def mutate(image, chance):
    """Some words replaced, or bits flipped; most often where something stands."""
    image = bytearray(image)
    for _ in range(chance.choice((1, 3, 30, 1000))):
        at = chance.choice((chance.randrange(600), chance.randrange(4096, 4096 + 2048), chance.randrange(len(image) - 8)))
        if chance.random() < 0.5:
            at &= ~7
            image[at:at + 8] = chance.choice((*WORDS, chance.randbytes(8)))
        else:
            image[at] ^= 1 << chance.randrange(8)
    size = _abi.BLOCK_BYTES if chance.random() < 0.9 else chance.randrange(_abi.BLOCK_BYTES)
    return bytes(image[:size]), size


def read_all(target):
    """Everything that a reader offers. How many of its figures came."""
    came = 0
    try:
        budget = membudget.attach(target)
    except PROMISED:
        return came
    for figure in (lambda: budget.level, lambda: budget.crossed, lambda: budget.live_bytes, lambda: budget.counted_bytes,
                   lambda: budget.peak_live_bytes, lambda: budget.limit_bytes, lambda: budget.reserve_bytes,
                   budget.snapshot, lambda: repr(budget), lambda: budget.wait(timeout=0)):
        try:
            figure()
            came += 1
        except PROMISED:
            pass
    return came


class HostileView:
    """What the module in C may be handed as a view: attributes that are missing, raise, or are anything at all."""

    def __init__(self, chance, byte):
        self.chance, self.byte = chance, byte

    def anything(self):
        kind = self.chance.randrange(8)
        if kind == 0:
            raise OSError("gone")
        return (None, "text", -1, 2**70, 1.5, self.chance.randrange(256), b"\xff", [])[kind]

    @property
    def level_address(self):
        if self.chance.random() < 0.3:
            return ctypes.addressof(self.byte)
        value = self.anything()
        return None if isinstance(value, int) else value  # a number is believed

    def read_level_byte(self):
        return self.anything()


def hostile_views(reader_type, chance, runs):
    """Levels, or exceptions: how many of the former."""
    byte, came = ctypes.c_ubyte(255), 0
    reader = reader_type()
    levels = (tuple(range(256)), tuple(object() for _ in range(256)), (), tuple(range(255)), [0] * 256, None)
    for _ in range(runs):
        if chance.random() < 0.02:
            reader = reader_type()
        try:
            reader._read_from(HostileView(chance, byte), chance.choice(levels[:2] if chance.random() < 0.8 else levels))
        except (AttributeError, TypeError, ValueError, OverflowError, OSError):
            pass
        byte.value = chance.randrange(256)
        try:
            came += reader.level is not None and reader.crossed in (False, True)
        except (AttributeError, TypeError, ValueError, OverflowError, OSError):
            pass
    return came


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--module", action="store_true", help="by the module in C, which has to be there")
    options = parser.parse_args()
    chance = random.Random(options.seed)
    if options.module:
        import _membudget
        if not issubclass(membudget.Budget, _membudget.Reader):
            raise SystemExit("the package does not read by the module in C")
        came = hostile_views(_membudget.Reader, chance, 100 * options.runs)
        print(f"{came} levels of hostile views")
        if came < options.runs:
            raise SystemExit("too few levels came at all")
    own, other = (tempfile.mkdtemp(prefix="membudget-fuzz.", dir="/dev/shm") for _ in range(2))
    program, image = good_block(own)
    os.environ["MEMBUDGET_DIR"] = other
    came = 0
    try:
        for _ in range(options.runs):
            data, size = mutate(image, chance)
            with open(os.path.join(other, "membudget-bad"), "wb") as file:
                file.write(data)
                file.truncate(size)
            came += read_all("bad") + read_all(program.pid)
            list(_block.paths())
    finally:
        program.communicate()
        for folder in (own, other):
            shutil.rmtree(folder, ignore_errors=True)
    print(f"{options.runs} blocks, {came} figures")
    if came < options.runs:
        raise SystemExit("too few blocks could be read at all: the mutations are too rough")


if __name__ == "__main__":
    main()
