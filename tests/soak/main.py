"""scripts/soak: everything at once, for as long as one likes. See there."""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time

ALLOCATORS = ("ptmalloc", "jemalloc", "mimalloc", "tcmalloc")
WARM_BOUTS = 10  # until every path has been taken once
GROWTH_ALLOWED = 64 << 10  # bytes: pages of the library's data that are first written to later
FIRST_BOUTS = 3  # at least


class Meddler(threading.Thread):
    """Does from outside what users do, in no particular order, until it is stopped."""

    def __init__(self, run_cli, name, seed, profiles):
        super().__init__(daemon=True)
        self._run, self._name, self._random = run_cli, name, random.Random(seed)
        self._profiles = profiles
        self._stop_event = threading.Event()
        self.done, self.errors = 0, []

    def _one(self):
        limit = self._random.choice(("1M", "8M", "64M", "1G", "0"))
        commands = [("set", self._name, "--limit", limit), ("show", self._name, "--json"), ("ls", "--json"),
                    ("trim", self._name, "--timeout", "5"), ("wait", self._name, "--timeout", "0.02")]
        if self._profiles:
            commands.append(("profile", self._name, "-o", "/dev/null"))
        return self._random.choice(commands)

    def run(self):
        while not self._stop_event.wait(self._random.random() * 0.05):
            command = self._one()
            done = self._run(*command)
            self.done += 1
            # 3, 4: the target's children come and go; a time-out is no fault of anybody's here.
            if done.returncode not in (0, 3, 4):
                self.errors.append(f"{' '.join(command)}: status {done.returncode}: {done.stderr.strip()}")

    def stop(self):
        self._stop_event.set()
        self.join()


class Soak:
    """One allocator: a worker and its meddlers."""

    def __init__(self, options, allocator, seed):
        self.allocator, self.seed = allocator, seed
        self.folder = tempfile.mkdtemp(prefix="membudget-soak.", dir="/dev/shm")
        self.name = f"soak-{allocator}"
        self.options = options
        self.profiles = allocator == "ptmalloc"
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("MEMBUDGET_", "LD_PRELOAD"))}
        self.outside = dict(clean, MEMBUDGET_DIR=self.folder)
        inside = dict(self.outside, MEMBUDGET_ALLOCATOR=allocator, MEMBUDGET_LIMIT="64M", MEMBUDGET_NAME=self.name,
                      LD_PRELOAD=f"{options.reference}:{options.library}")
        if self.profiles:
            inside["MEMBUDGET_PROFILE"] = "512K"
        self.worker = subprocess.Popen([options.worker], env=inside, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                       text=True)
        self.pid = int(self.worker.stdout.readline())
        self.bouts = []  # (operations, private bytes, mappings, files, block's bytes)
        self.drift = []

    def run_cli(self, *command):
        return subprocess.run([self.options.cli, *command], env=self.outside, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120, check=False)

    def bout(self):
        """One bout, then a look at all books."""
        self.worker.stdin.write(f"{self.seed + len(self.bouts)}\n")
        self.worker.stdin.flush()
        line = self.worker.stdout.readline()
        if not line:
            raise SystemExit(f"soak: the worker ended: {self.worker.wait()}")
        operations, expected, seen, private, mappings, files = map(int, line.split())
        block = os.stat(os.path.join(self.folder, f"membudget-{self.name}")).st_blocks * 512
        self.bouts.append((operations, private, mappings, files, block))
        shown = json.loads(self.run_cli("show", str(self.pid), "--json").stdout)
        outside, group = shown["live_bytes"], shown["group"]["live_bytes"]
        # The worker printed its line since, by no more than what it had for that before; the group is it alone.
        if expected != seen or expected != outside or expected != group:
            self.drift.append(f"bout {len(self.bouts)}: reference {expected}, library {seen}, "
                              f"outside {outside}, group {group}")

    def end(self):
        self.worker.stdin.close()
        status = self.worker.wait(60)
        left = [name for name in os.listdir(self.folder) if name.startswith("membudget-")]
        shutil.rmtree(self.folder, ignore_errors=True)
        return status, left

    def growth(self):
        """(private bytes, mappings, files) more at the end than after the first bouts."""
        warm = self.bouts[min(WARM_BOUTS, len(self.bouts) // 2)]
        return tuple(self.bouts[-1][i] - warm[i] for i in (1, 2, 3))


def run(options, allocator, seconds):
    """Soaks one allocator. The lines of what went wrong."""
    soak = Soak(options, allocator, options.seed)
    meddlers = [Meddler(soak.run_cli, soak.name, options.seed + i, soak.profiles) for i in range(2)]
    end = time.monotonic() + seconds
    # The books are looked at while nobody meddles, too: a `trim` frees what its caller's thread holds.
    while time.monotonic() < end or len(soak.bouts) < FIRST_BOUTS:
        if not meddlers[0].is_alive():
            for meddler in meddlers:
                meddler.start()
        soak.bout()
    for meddler in meddlers:
        meddler.stop()
    growth = soak.growth()
    status, left = soak.end()
    operations, private, mappings, files, block = soak.bouts[-1]
    print(f"{allocator:9} {operations:12,} operations {len(soak.bouts):6} rests "
          f"{sum(m.done for m in meddlers):6} commands; library {private >> 10} KiB ({growth[0] >> 10:+} KiB), "
          f"block {block >> 10} KiB, mappings {mappings} ({growth[1]:+}), files {files} ({growth[2]:+}); "
          f"{len(soak.drift)} drifts", flush=True)
    wrong = soak.drift + [error for meddler in meddlers for error in meddler.errors]
    # In a short run not every path has been taken once by then.
    if growth[0] > GROWTH_ALLOWED and len(soak.bouts) >= 3 * WARM_BOUTS:
        wrong.append(f"the library's memory grew by {growth[0]} bytes")
    if growth[2] > 0:
        wrong.append(f"{growth[2]} more files are open")
    if status != 0 or left:
        wrong.append(f"the worker ended with {status}, and left {left}")
    return [f"{allocator}: {line}" for line in wrong]


def main():
    parser = argparse.ArgumentParser()
    for path in ("library", "reference", "cli", "worker"):
        parser.add_argument("--" + path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--allocators", default=",".join(ALLOCATORS))
    options = parser.parse_args()
    allocators = options.allocators.split(",")
    wrong = []
    # In turns, so that a run that is broken off has seen them all.
    turns = max(1, int(options.seconds / len(allocators) // 300))
    for turn in range(turns):
        options.seed += turn * 1_000_000
        for allocator in allocators:
            wrong += run(options, allocator, options.seconds / len(allocators) / turns)
    for line in wrong[:50]:
        print(f"soak: {line}", file=sys.stderr)
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
