"""One run of one program: plain or under the library, in folders of its own, and what was wrong with it."""

import os
import pathlib
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time

import program as programs
from blocks import Watch

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
SKIPPED = 77
# What glibc and the allocators say of a heap that was broken.
BROKEN_HEAP = re.compile(r"free\(\)|malloc\(\)|realloc\(\)|corrupted|double free|invalid pointer|<jemalloc>:|"
                         r"mimalloc: |tcmalloc|Segmentation fault|Aborted|Bus error")


class Result:
    def __init__(self):
        self.status = None
        self.output = self.errors = ""
        self.problems = []
        self.seconds = 0.0
        self.peak_bytes = self.crossings = 0

    @property
    def is_skipped(self):
        return self.status == SKIPPED


def nobody():
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


class Runner:
    """Runs programs in folders below one temporary folder, which goes at the end of the `with`."""

    def __init__(self, library, limit, keep=False):
        self.limit = limit
        self.keep = keep
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="compat."))
        self.folder.chmod(0o755)
        # where every user can read it, whoever may read the build folder
        self.library = self.folder / "lib" / "libmembudget.so"
        self.library.parent.mkdir()
        shutil.copy(library, self.library)
        self.library.chmod(0o755)
        shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.blocks = pathlib.Path(tempfile.mkdtemp(prefix="compat.", dir=shared))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.blocks, ignore_errors=True)
        if not self.keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def environment(self, work, cache, allocator):
        environment = {name: os.environ[name] for name in ("TERM", "USER", "LOGNAME") if name in os.environ}
        environment.update(PATH=programs.PATH, HOME=str(work), LC_ALL="C.UTF-8", TZ="UTC", CACHE=str(cache),
                           SOURCE=str(REPOSITORY), REAL_HOME=os.environ.get("HOME", "/"), TMPDIR=str(work),
                           PYTHONDONTWRITEBYTECODE="1", PYTHONHASHSEED="0", LIBRARY=str(self.library))
        if allocator:
            environment.update(LD_PRELOAD=str(self.library), MEMBUDGET_DIR=str(self.blocks),
                               MEMBUDGET_ALLOCATOR=allocator, MEMBUDGET_LIMIT=self.limit)
        return environment

    def run(self, program, allocator=None):
        """Under `allocator`, or plain. The same folder each time: paths show in outputs."""
        work, cache = self.folder / "work" / program.name, self.folder / "cache" / program.name
        shutil.rmtree(work, ignore_errors=True)
        user = nobody() if program.as_ordinary_user else None
        for folder in (work, cache):
            folder.mkdir(parents=True, exist_ok=True)
            if user:
                os.chown(folder, user.pw_uid, user.pw_gid)
        self.blocks.chmod(0o1777 if user else 0o700)
        options = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
        command = ["/bin/bash", "-eu", "-o", "pipefail", str(self.copy_of(program))]
        with Watch(self.blocks) as watch:
            result = finish(command, program.timeout_s, cwd=work, env=self.environment(work, cache, allocator),
                            **options)
        if allocator:
            self.judge_blocks(program, watch, result)
        return result

    def copy_of(self, program):
        """Where every user can read it."""
        copy = self.folder / "lib" / program.script.name
        shutil.copy(program.script, copy)
        copy.chmod(0o755)
        return copy

    def judge_blocks(self, program, watch, result):
        result.peak_bytes, result.crossings = watch.peak_bytes, watch.crossings
        result.problems += watch.problems
        left = self.left_over()
        if left:
            result.problems.append(f"left behind in MEMBUDGET_DIR: {' '.join(left)}")
        if result.is_skipped:
            return
        for name in program.words("processes"):
            if not watch.has_seen(name):
                result.problems.append(f"{name} was not counted (seen: {sorted(watch.commands)[:8]})")
        for name in program.words("uncounted"):
            if watch.has_seen(name):
                result.problems.append(f"{name} was counted")

    def left_over(self):
        """Files that stay after all of the program's processes are gone. They may take a moment."""
        for _ in range(100):
            left = sorted(os.listdir(self.blocks))
            if not left:
                return []
            time.sleep(0.05)
        for name in left:
            (self.blocks / name).unlink()
        return left


def finish(command, timeout_s, **options):
    """Runs it in a session of its own; nothing that it started outlives it."""
    result = Result()
    begun = time.monotonic()
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors,
                                   start_new_session=True, **options)
        try:
            result.status = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            result.problems.append(f"not done after {timeout_s:.0f} s")
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
        for file, name in ((output, "output"), (errors, "errors")):
            file.seek(0)
            setattr(result, name, file.read().decode(errors="replace"))
    result.seconds = time.monotonic() - begun
    return result


def first_difference(plain, under):
    for mine, its in zip(plain + ["(end)"], under + ["(end)"]):
        if mine != its:
            return f"{mine[:200]!r} became {its[:200]!r}"
    return ""


def judge(program, plain, under):
    """What differs from the plain run; adds to `under.problems`."""
    if under.status != plain.status:
        under.problems.append(f"exit status {under.status}, plain {plain.status}: {under.errors.strip()[-300:]!r}")
    difference = first_difference(plain.output.splitlines(), under.output.splitlines())
    if difference:
        under.problems.append(f"output: {difference}")
    own = [line for line in under.errors.splitlines() if not program.allows(line)]
    expected = [line for line in plain.errors.splitlines() if not program.allows(line)]
    difference = first_difference(expected, own)
    if difference:
        under.problems.append(f"errors: {difference}")
    for line in (under.errors + under.output).splitlines():
        if BROKEN_HEAP.search(line) and line not in plain.errors + plain.output:
            under.problems.append(f"it says: {line[:200]!r}")
            break
