"""Watches the shared blocks of a run from outside, by what abi.h says, and notes what must not be."""

import ctypes
import mmap
import os
import pathlib
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "control" / "python"))
from membudget import _abi as abi  # noqa: E402  (the layout alone: nothing here is attached to)


def live_bytes(process):
    """Of one slot. All that was freed is read first: what is under way can only make the sum too large."""
    high = min(process.shard_high, abi.SHARDS)
    freed = sum(process.shards[i].freed_bytes for i in range(high))
    return sum(process.shards[i].allocated_bytes for i in range(high)) - freed


class Block:
    """One block's file, mapped from when it was first seen until after the run."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)  # ctypes wants it writable
        self.header = abi.Header.from_buffer(self.memory)

    def processes(self):
        size = ctypes.sizeof(abi.Process)
        for i in range(min(self.header.process_high, abi.PROCESSES)):
            yield abi.Process.from_buffer(self.memory, abi.HEADER_BYTES + i * size)


class Watch:
    """While in its `with`: looks at all blocks in a folder again and again."""

    def __init__(self, folder):
        self.folder = folder
        self.blocks = {}
        self.commands = set()
        self.problems = []
        self.peak_bytes = self.crossings = 0
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()

    def run(self):
        while not self.done.wait(0.02):
            self.look()

    def look(self):
        for name in os.listdir(self.folder):
            if name not in self.blocks and name.startswith(abi.FILE_PREFIX):
                try:
                    self.blocks[name] = Block(os.path.join(self.folder, name))
                except (OSError, ValueError):
                    continue
        for block in self.blocks.values():
            self.look_at(block)

    def look_at(self, block):
        self.peak_bytes = max(self.peak_bytes, block.header.peak_counted_bytes)
        self.crossings = max(self.crossings, block.header.crossings)
        for process in block.processes():
            generation, state = process.generation, process.state
            if state in (abi.PROCESS_FREE, abi.PROCESS_STARTING, abi.PROCESS_EXECED):
                continue
            command = process.command.decode(errors="replace")
            live, mapped = live_bytes(process), process.mapped_bytes
            errors = process.config_errors
            if (process.generation, process.state) != (generation, state):
                continue  # another's by now
            self.commands.add(command)
            if live < 0 or mapped < 0:
                self.problem(f"{command[:60]}: {live} live bytes, {mapped} mapped")
            if errors:
                self.problem(f"{command[:60]}: {errors.decode(errors='replace').strip()}")

    def problem(self, text):
        if text not in self.problems and len(self.problems) < 20:
            self.problems.append(text)

    def has_seen(self, program):
        """Whether a process of that name was counted."""
        return any(os.path.basename(word).rstrip(":") == program or word == program
                   for command in self.commands for word in command.split()[:2])
