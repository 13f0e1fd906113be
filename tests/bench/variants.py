"""What a program is run under: an allocator by itself, the same under membudget, or another accounting tool."""

import functools
import os
import pathlib

from process import Failure, run

ALLOCATORS = ("ptmalloc", "jemalloc", "mimalloc", "tcmalloc")
FAR = "16G"  # a budget that nothing here comes near

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("BENCH_BUILD", REPOSITORY / "build" / "release"))
LIBRARY = BUILD / "preload" / "libmembudget.so"

# Where the shared blocks lie; main.py makes a folder.
folder = {"blocks": "/dev/shm"}

RAW_LIBRARIES = {
    "jemalloc": "libjemalloc.so.2",
    "mimalloc": "libmimalloc.so.2",
    "tcmalloc": "libtcmalloc_minimal.so.4",
}
# The library fixes these two; for plain glibc they have to be set before it starts.
MALLOPT = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}


def plain():
    """No allocator but the program's own."""
    return {}


def raw(allocator):
    """The allocator by itself."""
    if allocator == "ptmalloc":
        # In front of an allocator that the program is linked with, as redis-server is.
        return {"LD_PRELOAD": "libc.so.6", **MALLOPT}
    return checked({"LD_PRELOAD": RAW_LIBRARIES[allocator]}, RAW_LIBRARIES[allocator])


def ours(allocator, limit=FAR, **settings):
    """The same allocator under membudget."""
    environment = {"LD_PRELOAD": str(LIBRARY), "MEMBUDGET_ALLOCATOR": allocator, "MEMBUDGET_LIMIT": str(limit),
                   "MEMBUDGET_DIR": folder["blocks"], **settings}
    return checked(environment, LIBRARY.name)


def least(allocator):
    """The least that counting in front of the allocator takes (least.S); None where that was not written."""
    library = BUILD / "tests" / "bench" / f"libbench_least_{allocator}.so"
    if not library.exists():
        return None
    of_itself = raw(allocator)
    behind = of_itself["LD_PRELOAD"] if allocator in ("mimalloc", "tcmalloc") else ""
    return checked({**of_itself, "LD_PRELOAD": f"{library} {behind}".strip()}, library.name)


def preloaded(library, **settings):
    """Another accounting tool."""
    return checked({"LD_PRELOAD": library, **settings}, os.path.basename(library))


def profilers(allocator, folder):
    """{name: its environment} of those that say who holds the memory, as they come. What they write is thrown away."""
    if allocator == "ptmalloc":
        return {"heaptrack": preloaded("/usr/lib/heaptrack/libheaptrack_preload.so",
                                       DUMP_HEAPTRACK_OUTPUT=os.devnull, **MALLOPT)}
    if allocator == "jemalloc":
        return {"jemalloc prof": preloaded("libjemalloc.so.2", MALLOC_CONF="prof:true")}
    if allocator == "tcmalloc":
        return {"gperftools heap profiler":
                preloaded("libtcmalloc.so.4", HEAPPROFILE=os.path.join(folder, "heap"))}
    return {}


def checked(environment, library):
    """The environment, once it is known that a program under it really has the library."""
    check(tuple(sorted(environment.items())), library)
    return environment


@functools.lru_cache(maxsize=None)
def check(settings, library):
    seen = run(["cat", "/proc/self/maps"], dict(settings))
    wrong = [line for line in seen.errors.splitlines() if "LD_PRELOAD" in line or line.startswith("membudget:")]
    if wrong or library not in seen.output:
        raise Failure(f"{library} cannot be preloaded: {' '.join(wrong) or 'it is not in the program'}")
