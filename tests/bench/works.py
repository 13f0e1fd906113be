"""The list of what can be measured, by name and group."""

from collections import namedtuple

import micro
import peers
import profiling
import programs
import redis_server
import small
from variants import ALLOCATORS

# function(allocator, options) -> [Row]; `allocators`: those that it makes sense for.
Work = namedtuple("Work", "name group about function allocators")

GROUPS = {
    "micro": "Allocation, one thread",
    "threads": "Allocation, blocks passed between threads",
    "near": "Near the limit: at 99 % of the budget against 50 %",
    "programs": "Whole programs",
    "python": "Python with the library's defaults",
    "instructions": "Whole programs, and Python with the library's defaults, by the instructions executed",
    "idle": "Start-up, memory, reading the level",
    "profile": "Sampled profiles: on against off, beside other heap profilers, the longest wait for a dump",
    "peers": "Other accounting tools, against the allocator by itself",
}


def _micro(work, threads=1):
    return lambda allocator, options: micro.compare(work, allocator, options, threads)


def _near(threads):
    return lambda allocator, options: micro.near(allocator, options, threads)


def _work(name, group, about, function, allocators=ALLOCATORS):
    return Work(name, group, about, function, allocators)


WORKS = [
    _work("pair", "micro", "malloc(64) and free", _micro("pair")),
    _work("churn", "micro", "4,096 live blocks of 16 to 1,039 bytes, replaced at random", _micro("churn")),
    _work("bulk", "micro", "200,000 blocks of 48 bytes, then freed", _micro("bulk")),
    *(_work(f"passed-{threads}", "threads", f"churn, blocks passed between {threads} threads",
            _micro("passed", threads)) for threads in (2, 16)),
    *(_work(f"passed-bulk-{threads}", "threads", f"bulk, blocks passed between {threads} threads",
            _micro("passed-bulk", threads)) for threads in (2, 16)),
    *(_work(f"near-{threads}", "near", f"churn at 99 % of the budget, threads: {threads}", _near(threads))
      for threads in (1, 2, 16)),
    _work("python", "programs", "JSON and dicts, small objects in arenas", programs.python_arenas),
    _work("python-malloc", "programs", "the same, small objects from malloc", programs.python_malloc),
    _work("redis", "programs", "redis-server under redis-benchmark", redis_server.redis),
    _work("g++", "programs", "g++ -O1 of a large file", programs.compiler),
    _work("sqlite", "programs", "bulk insert", programs.sqlite),
    _work("python-defaults", "python", "JSON and dicts, against plain python3", programs.python_defaults),
    *(_work(f"{name}-instructions", "instructions", about, programs.by_instructions(function))
      for name, about, function in (
          ("python", "JSON and dicts, small objects in arenas", programs.python_arenas),
          ("python-malloc", "the same, small objects from malloc", programs.python_malloc),
          ("g++", "g++ -O1 of a file", programs.compiler), ("sqlite", "bulk insert", programs.sqlite),
          ("python-defaults", "JSON and dicts, against plain python3", programs.python_defaults))),
    *(_work(f"profile-{name}-instructions", "instructions", f"{about}, sampled", programs.by_instructions(function))
      for name, about, function in (("python", "JSON and dicts", profiling.python),
                                    ("g++", "g++ -O1 of a file", profiling.compiler))),
    _work("start", "idle", "how much later true ends", small.start),
    _work("memory", "idle", "private memory of sleep", small.memory),
    _work("level", "idle", "reading the level", small.level, ALLOCATORS[:1]),
    *(_work(f"profile-{work}", "profile", f"{work}, sampled every 512 KiB", profiling.small(work))
      for work in ("pair", "churn", "bulk")),
    _work("profile-python", "profile", "JSON and dicts, sampled", profiling.python),
    _work("profile-g++", "profile", "g++ -O1 of a large file, sampled", profiling.compiler),
    _work("profile-others", "profile", "heaptrack, jemalloc prof, gperftools, on JSON and dicts",
          profiling.beside_others, ("ptmalloc", "jemalloc", "tcmalloc")),
    _work("profile-dump", "profile", "8 threads, 20,000 sampled blocks: the longest malloc during a dump",
          profiling.dump),
    _work("peers", "peers", "libmemusage, heaptrack, gperftools, jemalloc prof", peers.compare,
          ("ptmalloc", "jemalloc", "tcmalloc")),
]


def choose(names):
    """The works of these names; a group's name stands for all of its works. None: all. KeyError(name)."""
    if names is None:
        return WORKS
    chosen = []
    for name in names:
        found = [work for work in WORKS if name in (work.name, work.group)]
        if not found:
            raise KeyError(name)
        chosen += [work for work in found if work not in chosen]
    return sorted(chosen, key=WORKS.index)


def describe():
    """All works, for --list."""
    lines = []
    for group, title in GROUPS.items():
        lines.append(f"{group}: {title}")
        lines += [f"  {work.name:<28} {work.about}" for work in WORKS if work.group == group]
    return "\n".join(lines)
