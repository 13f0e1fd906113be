"""The Python readers on mutated blocks, always the same ones: they give figures, or one of the errors they promise."""

import argparse
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


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chance = random.Random(options.seed)
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
