"""What the tests share: blocks made by hand, and programs run under the library."""

import os
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PACKAGE = os.path.join(ROOT, "control", "python")
# With the part in C where it was built, which the tests named python.plain.* do without.
MODULE = os.environ.get("MEMBUDGET_PYTHON_MODULE")
PYTHONPATH = os.pathsep.join([PACKAGE] + ([os.path.dirname(MODULE)] if MODULE else []))
sys.path[:0] = [folder for folder in PYTHONPATH.split(os.pathsep) if folder not in sys.path]

from membudget import _abi, _slot  # noqa: E402

ALLOCATORS = ("ptmalloc", "jemalloc", "mimalloc", "tcmalloc")
LIBRARY = os.environ.get("MEMBUDGET_LIBRARY") or os.path.join(ROOT, "build/release/preload/libmembudget.so")
CLI = os.environ.get("MEMBUDGET_CLI") or os.path.join(ROOT, "build/release/control/cli/membudget")


def start_time(pid):
    """Field 22 of /proc/PID/stat."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[19])


class BlockTestCase(unittest.TestCase):
    """Tests with a MEMBUDGET_DIR of their own, and a process that lives as long as the test."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.directory = folder.name
        environment = mock.patch.dict(os.environ, MEMBUDGET_DIR=folder.name)
        environment.start()
        self.addCleanup(environment.stop)

    def start_process(self):
        """A process that sleeps until the test is over."""
        process = subprocess.Popen(["sleep", "1000"])
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def path(self, name):
        return os.path.join(self.directory, _abi.FILE_PREFIX + name)

    def make_header(self, name="test", **fields):
        """A header as the library would write it, but for `fields`."""
        header = _abi.Header(
            magic=_abi.MAGIC, abi_version=_abi.ABI_VERSION, header_bytes=_abi.HEADER_BYTES,
            block_bytes=_abi.BLOCK_BYTES, process_bytes=_abi.PROCESS_BYTES, process_count=_abi.PROCESSES,
            shard_offset=_abi.Process.shards.offset, shard_bytes=_abi.SHARD_BYTES, shard_count=_abi.SHARDS,
            owner_uid=os.geteuid(), name=name.encode(), process_high=1, limit_bytes=1000,
        )
        for field, value in fields.items():
            setattr(header, field, value)
        return header

    def make_process(self, pid, shards=((0, 0),), **fields):
        """A slot of the living process `pid`, with (allocated, freed) bytes in its shards."""
        process = _abi.Process(
            state=_abi.PROCESS_LIVE, pid=pid, start_time=start_time(pid), pid_namespace=_slot.pid_namespace(),
            shard_high=len(shards), allocator=b"ptmalloc", command=b"sleep 1000",
        )
        for index, (allocated, freed) in enumerate(shards):
            process.shards[index].allocated_bytes = allocated
            process.shards[index].freed_bytes = freed
            process.shards[index].allocations = process.shards[index].frees = 1
        for field, value in fields.items():
            setattr(process, field, value)
        return process

    def write_block(self, header, *processes, name="test"):
        """Writes a block of these slots; returns its path."""
        with open(self.path(name), "wb") as file:
            file.truncate(_abi.BLOCK_BYTES)
            file.write(bytes(header))
            for index, process in enumerate(processes):
                file.seek(_abi.HEADER_BYTES + index * _abi.PROCESS_BYTES)
                file.write(bytes(process))
        return self.path(name)

    def poke(self, path, offset, value, size=4):
        """Writes a number into a block."""
        with open(path, "r+b") as file:
            file.seek(offset)
            file.write(value.to_bytes(size, sys.byteorder))


def run_preloaded(code, allocator="ptmalloc", timeout=120, **settings):
    """Runs Python code under the library; returns what it printed. AssertionError unless it exits with 0.

    `settings` are MEMBUDGET_... variables without that prefix.
    """
    assert os.path.exists(LIBRARY), f"build it first (or set MEMBUDGET_LIBRARY): {LIBRARY}"
    environment = {**os.environ, "LD_PRELOAD": LIBRARY, "PYTHONPATH": PYTHONPATH, "MEMBUDGET_ALLOCATOR": allocator}
    environment.pop("PYTHONMALLOC", None)
    environment.update({f"MEMBUDGET_{name}": str(value) for name, value in settings.items()})
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, timeout=timeout, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert not done.stderr, done.stderr
    return done.stdout
