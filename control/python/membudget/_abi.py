"""The shared block as <membudget/abi.h> lays it out: the only place that knows offsets.

One ctypes.Structure for each struct of the header, member by member. A test compiles abi.h and compares
every offset. Nothing here reads a block; see _block.py and _process.py.
"""

import ctypes
import sys
from ctypes import c_char, c_int32, c_int64, c_uint8, c_uint32, c_uint64

MAGIC = 0x31544744424D454D
ABI_VERSION = 1
FILE_PREFIX = "membudget-"
DEFAULT_DIR = "/dev/shm"
NAME_MAX = 64
SHARDS = 512
PROCESSES = 256
HEADER_BYTES = 4096

PROCESS_FREE, PROCESS_STARTING, PROCESS_LIVE, PROCESS_LEAVING, PROCESS_EXECED = range(5)
NONE, LOW, MEDIUM, CRITICAL = 0, 50, 100, 255
MEASURE_COUNTED, MEASURE_FOOTPRINT = range(2)
UNIT_BYTES, UNIT_MILLIONTHS = range(2)


class Amount(ctypes.Structure):
    """A size as it was set: bytes, or millionths of a whole."""

    _fields_ = [("value", c_int64), ("unit", c_uint32), ("is_set", c_uint32)]


class Shard(ctypes.Structure):
    """What one thread counts."""

    _fields_ = [
        ("allocated_bytes", c_int64),
        ("freed_bytes", c_int64),
        ("allocations", c_uint64),
        ("frees", c_uint64),
        ("allocated_trigger", c_int64),
        ("freed_trigger", c_int64),
        ("ceiling_bytes", c_int64),
        ("floor_bytes", c_int64),
    ]


class Process(ctypes.Structure):
    """A process slot."""

    _fields_ = [
        ("state", c_uint32),
        ("pid", c_int32),
        ("start_time", c_uint64),
        ("pid_namespace", c_uint64),
        ("generation", c_uint64),
        ("mapped_bytes", c_int64),
        ("inherited_live_bytes", c_int64),
        ("inherited_mapped_bytes", c_int64),
        ("peak_live_bytes", c_int64),
        ("peak_counted_bytes", c_int64),
        ("peak_error_bytes", c_int64),
        ("shard_high", c_uint32),
        ("parent_pid", c_int32),
        ("trim_request", c_uint32),
        ("trim_done", c_uint32),
        ("trim_released_bytes", c_int64),
        ("uncounted_threads", c_uint64),
        ("pending_forks", c_uint32),
        ("flushes_under_way", c_uint32),
        ("overhead_bytes", c_int64),
        ("inherited_overhead_bytes", c_int64),
        ("profile_mean_bytes", c_int64),
        ("profile_request", c_uint32),
        ("profile_done", c_uint32),
        ("profile_error", c_int32),
        ("fresh_shard", c_uint32),
        ("fresh_bytes", c_int64),
        ("fresh_ns", c_int64),
        ("fresh_besides_bytes", c_int64),
        ("most_besides_bytes", c_int64),
        ("code_end", c_uint64),
        ("stack_start", c_uint64),
        ("reserved", c_uint64 * 4),
        ("allocator", c_char * 64),
        ("command", c_char * 256),
        ("config_errors", c_char * 1024),
        ("padding", c_char * 464),
        ("shard_owner", c_uint32 * SHARDS),
        ("shards", Shard * SHARDS),
    ]


class Header(ctypes.Structure):
    """What a block begins with."""

    _fields_ = [
        ("magic", c_uint64),
        ("abi_version", c_uint32),
        ("header_bytes", c_uint32),
        ("block_bytes", c_uint64),
        ("process_bytes", c_uint32),
        ("process_count", c_uint32),
        ("shard_offset", c_uint32),
        ("shard_bytes", c_uint32),
        ("shard_count", c_uint32),
        ("owner_uid", c_uint32),
        ("created_ns", c_uint64),
        ("pid_namespace", c_uint64),
        ("boot_id", c_char * 40),
        ("name", c_char * 72),
        ("reserved_identity", c_uint8 * 80),
        ("level_word", c_uint32),
        ("process_high", c_uint32),
        ("limit_bytes", c_int64),
        ("low_bytes", c_int64),
        ("medium_bytes", c_int64),
        ("release_bytes", c_int64),
        ("hard_limit_bytes", c_int64),
        ("overhead_bytes", c_int64),
        ("reserve_bytes", c_int64),
        ("lock", c_uint32),
        ("measure", c_uint32),
        ("children", c_uint32),
        ("limit_sequence", c_uint32),
        ("limit", Amount),
        ("low", Amount),
        ("medium", Amount),
        ("release", Amount),
        ("hard_limit", Amount),
        ("crossings", c_uint64),
        ("last_crossing_ns", c_uint64),
        ("last_crossing_live_bytes", c_int64),
        ("last_crossing_counted_bytes", c_int64),
        ("peak_live_bytes", c_int64),
        ("peak_counted_bytes", c_int64),
        ("peak_error_bytes", c_int64),
        ("uncounted_processes", c_uint64),
        ("last_reap_ns", c_int64),
        ("allowance_sequence", c_uint32),
        ("reserve_is_learned", c_uint32),
        ("whole_bytes", c_int64),
        ("measured_ns", c_int64),
        ("measure_at_bytes", c_int64),
        ("measure_below_bytes", c_int64),
        ("peak_footprint_bytes", c_int64),
        ("trimmed_overhead_bytes", c_int64),
        ("trimmed_counted_bytes", c_int64),
        ("trimmed_ns", c_int64),
        ("trimming_ns", c_int64),
        ("trims", c_uint64),
        ("trimmed_crossings", c_uint64),
        ("flush_start_bytes", c_int64),
        ("flush_peak_bytes", c_int64),
        ("flush_worst_bytes", c_int64),
        ("flushes", c_uint64),
        ("fresh_charged_bytes", c_int64),
        ("doubtful_bytes", c_int64),
        ("told_crossing_ns", c_uint64),
    ]


PROCESS_BYTES = ctypes.sizeof(Process)
SHARD_BYTES = ctypes.sizeof(Shard)
BLOCK_BYTES = HEADER_BYTES + PROCESSES * PROCESS_BYTES

BYTE_ORDER = sys.byteorder

# The byte of the level word that holds the level: its low eight bits.
LEVEL_OFFSET = Header.level_word.offset + (0 if BYTE_ORDER == "little" else 3)


def text(raw):
    """A string of the block, which may hold anything."""
    return raw.decode("utf-8", "replace")
