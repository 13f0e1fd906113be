/* membudget/abi.h: the shared block, so that any language can read it without a library.
 *
 * One file per group, MEMBUDGET_DIR/membudget-NAME (MEMBUDGET_DIR is /dev/shm unless set), mode
 * 0600: a header, then `process_count` process slots of `process_bytes` each, each of which ends in
 * `shard_count` shards. All integers are in the machine's byte order. Always take offsets and sizes
 * from the header's own fields and refuse a block whose `magic` or `abi_version` differ, or whose
 * `block_bytes` is larger than the file.
 *
 * How to read it
 *   - level: the low 8 bits of `level_word`, one load. The upper 24 bits count the changes of level,
 *     so the word is a futex on which no change between two waits is missed:
 *     FUTEX_WAIT (not the private kind) on the value last read.
 *   - live bytes of a process: over its shards 0 .. shard_high-1, the sum of `allocated_bytes` less
 *     the sum of `freed_bytes`, as signed 64-bit numbers. A single shard may be negative (its thread
 *     frees what others allocated); only the sum means something. Read all `freed_bytes` first: then
 *     what is under way can only make the sum too large, by at most one call per thread. When no
 *     thread is inside an allocation call the sum is exact to the byte.
 *   - counted bytes of a process: its live bytes plus `mapped_bytes`.
 *   - the group's live bytes: over the processes that are alive, the sum of max(0, live bytes -
 *     `inherited_live_bytes`). What a forked child inherited is counted once, where it was allocated;
 *     what the child frees of that is not taken off its parent's share, nor off another's, and what it
 *     allocates counts from where its live bytes exceed what it inherited. When the parent frees it, or
 *     dies, it leaves the total, though children may still hold its pages. Mapped bytes: the same, with
 *     `inherited_mapped_bytes`. The group's counted bytes are the sum of both, and are what the level
 *     follows; each process counts for itself, so they are exact whenever its own figures are.
 *   - `inherited_live_bytes`: the parent's live bytes as fork() was called, and what the child starts
 *     from. Other threads of the parent that go on allocating until the kernel has copied it may make
 *     the child's figure differ from the memory it got by that; the group's total is not touched by it.
 *   - not in any of these: pages that a child copies by writing to what it inherited (CPython writes to
 *     what it reads). `membudget show` gives them as copied_bytes, by the kernel's figures: the child's
 *     private dirty pages beyond max(0, live - inherited) + max(0, mapped - inherited).
 *   - a process is alive if its `state` is MEMBUDGET_PROCESS_LIVE and a process `pid` with that
 *     `start_time` exists (field 22 of /proc/PID/stat, less the reader's own boottime offset in
 *     /proc/self/timens_offsets) that is still the program that counted: fields 27 and 28 there are
 *     `code_end` and `stack_start`. Where either side has a `stack_start` of 0 (the reader may not
 *     look, no /proc), that cannot be told, and it is taken to be. A dead one's slot is freed, that
 *     of one that executes another program set to MEMBUDGET_PROCESS_EXECED, and the level brought in
 *     line, by the next member that looks up, or by whoever reads the block through the client library.
 *   - children that find no free slot among `process_count` run uncounted, as do theirs until they exec;
 *     `uncounted_processes` says how many there were.
 *   - peaks: the larger of the recorded peak and the sum of now; a recorded peak may be too low by at
 *     most `peak_error_bytes`, never too high by more than one call in flight per thread. With one
 *     thread it is exact (`peak_error_bytes` 0) when memory grew to it within 4 KiB below a mark, or
 *     past the limit by up to 64 KiB.
 *
 * What may be written from outside: nothing, except through the client library (limits, requests).
 */
#ifndef MEMBUDGET_ABI_H
#define MEMBUDGET_ABI_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MEMBUDGET_MAGIC UINT64_C(0x31544744424d454d) /* "MEMBDGT1", little endian */
#define MEMBUDGET_ABI_VERSION 1u
#define MEMBUDGET_FILE_PREFIX "membudget-"
#define MEMBUDGET_DEFAULT_DIR "/dev/shm"
#define MEMBUDGET_NAME_MAX 64 /* bytes, without the terminating zero */

/* Levels, as in GLib's GMemoryMonitor: compare with >=. */
#define MEMBUDGET_NONE 0u
#define MEMBUDGET_LOW 50u
#define MEMBUDGET_MEDIUM 100u
#define MEMBUDGET_CRITICAL 255u

#define MEMBUDGET_PROCESS_FREE 0u     /* the slot may be taken */
#define MEMBUDGET_PROCESS_STARTING 1u /* taken, not yet filled in */
#define MEMBUDGET_PROCESS_LIVE 2u     /* counted */
#define MEMBUDGET_PROCESS_LEAVING 3u  /* exiting: no longer counted, not yet reusable */
#define MEMBUDGET_PROCESS_EXECED 4u   /* lives, and executes another program: no longer counted */

#define MEMBUDGET_MEASURE_COUNTED 0u
#define MEMBUDGET_MEASURE_FOOTPRINT 1u

#define MEMBUDGET_UNIT_BYTES 0u      /* membudget_amount.value is bytes */
#define MEMBUDGET_UNIT_MILLIONTHS 1u /* membudget_amount.value is millionths of the whole */

/* A size as it was set: bytes, or a share that follows the whole it is a share of. */
struct membudget_amount {
  int64_t value;
  uint32_t unit;
  uint32_t is_set;
};

/* What one thread counts: one cache line, written by its owner only, but for the last four words,
 * which whoever holds the block's lock sets. Shard 0 of a process is shared by all of its threads
 * that have none of their own (starting up, being torn down, beyond shard_count), with atomic adds. */
struct membudget_shard {
  int64_t allocated_bytes; /* usable bytes handed out, ever */
  int64_t freed_bytes;     /* usable bytes taken back, ever */
  uint64_t allocations;
  uint64_t frees;
  int64_t allocated_trigger; /* the owner looks up when allocated_bytes exceeds this */
  int64_t freed_trigger;     /* and when freed_bytes exceeds this */
  int64_t ceiling_bytes;     /* allocated - freed may grow to this unseen */
  int64_t floor_bytes;       /* and fall to this unseen */
};

#define MEMBUDGET_SHARDS 512u
#define MEMBUDGET_PROCESSES 256u

struct membudget_process {
  uint32_t state;
  int32_t pid;
  uint64_t start_time;          /* clock ticks after boot, /proc/PID/stat field 22 */
  uint64_t pid_namespace;       /* inode of /proc/self/ns/pid: a pid means something only there */
  uint64_t generation;          /* counts the users of this slot */
  int64_t mapped_bytes;         /* private anonymous writable memory the program mapped by itself */
  int64_t inherited_live_bytes; /* at fork */
  int64_t inherited_mapped_bytes;
  int64_t peak_live_bytes;
  int64_t peak_counted_bytes;
  int64_t peak_error_bytes;
  uint32_t shard_high; /* shards from here on were never used */
  int32_t parent_pid;
  uint32_t trim_request; /* raised by whoever wants memory handed back */
  uint32_t trim_done;    /* follows trim_request */
  int64_t trim_released_bytes;
  uint64_t uncounted_threads;       /* threads that had to use shard 0 for want of one */
  uint32_t pending_forks;           /* children under way that have no slot yet */
  uint32_t flushes_under_way;       /* see membudget_flush_begins() */
  int64_t overhead_bytes;           /* this process's part of the group's, where no cgroup limits it */
  int64_t inherited_overhead_bytes; /* at fork */
  int64_t profile_mean_bytes;       /* between sampled stacks; 0: no stacks are taken */
  uint32_t profile_request;         /* raised by whoever wants a profile written */
  uint32_t profile_done;            /* follows profile_request */
  int32_t profile_error;            /* of the last one: 0, or an errno */
  uint32_t fresh_shard;             /* of the thread that was handed fresh_bytes out */
  int64_t fresh_bytes;              /* large blocks that nobody may have touched yet, */
  int64_t fresh_ns;                 /* CLOCK_MONOTONIC, of the last of them */
  int64_t fresh_besides_bytes;      /* counted bytes of this process without them */
  int64_t most_besides_bytes;       /* counted at the most, without them, while some of the group are watched */
  uint64_t code_end;                /* /proc/PID/stat fields 27 and 28 as the slot was taken: they change when the */
  uint64_t stack_start;             /* process executes another program; 0: not known */
  uint64_t reserved[4];
  char allocator[64];
  char command[256];        /* arguments with spaces between, cut off */
  char config_errors[1024]; /* lines; empty when all settings were good */
  char padding[464];
  uint32_t shard_owner[MEMBUDGET_SHARDS]; /* thread id, 0 where the shard is free */
  struct membudget_shard shards[MEMBUDGET_SHARDS];
};

struct membudget_header {
  uint64_t magic;
  uint32_t abi_version;
  uint32_t header_bytes; /* offset of the first process slot */
  uint64_t block_bytes;  /* of the whole file */
  uint32_t process_bytes;
  uint32_t process_count;
  uint32_t shard_offset; /* within a process slot */
  uint32_t shard_bytes;
  uint32_t shard_count;
  uint32_t owner_uid;
  uint64_t created_ns; /* CLOCK_REALTIME */
  uint64_t pid_namespace;
  char boot_id[40]; /* /proc/sys/kernel/random/boot_id: a block of another boot is stale */
  char name[72];
  uint8_t reserved_identity[80];

  /* One cache line that readers poll. */
  uint32_t level_word;   /* sequence << 8 | level; a futex */
  uint32_t process_high; /* slots from here on were never used */
  int64_t limit_bytes;   /* 0: none */
  int64_t low_bytes, medium_bytes, release_bytes, hard_limit_bytes;
  int64_t overhead_bytes; /* footprint measure: what the kernel charges beyond counted bytes */
  int64_t reserve_bytes;  /* what a flush was seen to need */

  uint32_t lock; /* 0, or the holder's thread id; bit 31: somebody waits */
  uint32_t measure;
  uint32_t children;
  uint32_t limit_sequence;                                         /* odd while the limits are being changed */
  struct membudget_amount limit, low, medium, release, hard_limit; /* as they were set */
  uint64_t crossings;
  uint64_t last_crossing_ns; /* CLOCK_REALTIME */
  int64_t last_crossing_live_bytes;
  int64_t last_crossing_counted_bytes;
  int64_t peak_live_bytes;
  int64_t peak_counted_bytes;
  int64_t peak_error_bytes;
  uint64_t uncounted_processes; /* that found no free slot */
  int64_t last_reap_ns;         /* CLOCK_MONOTONIC: when members were last looked for that died */
  uint32_t allowance_sequence;  /* odd while allowances are being withdrawn and handed out anew */
  uint32_t reserve_is_learned;  /* reserve_bytes follows what flushes are seen to need */

  /* The footprint: counted bytes plus overhead_bytes. Times are CLOCK_MONOTONIC. */
  int64_t whole_bytes;            /* what percentages are shares of, as last seen */
  int64_t measured_ns;            /* when overhead_bytes was measured */
  int64_t measure_at_bytes;       /* counted bytes from which it is measured anew */
  int64_t measure_below_bytes;    /* and below which */
  int64_t peak_footprint_bytes;   /* of all measurements */
  int64_t trimmed_overhead_bytes; /* the least overhead since allocators were last told to give back what they kept */
  int64_t trimmed_counted_bytes;  /* counted bytes then */
  int64_t trimmed_ns;             /* when that ended */
  int64_t trimming_ns;            /* how long the last took */
  uint64_t trims;                 /* for the sake of a level or the hard limit; requests apart */
  uint64_t trimmed_crossings;     /* crossings when the last was tried to avoid one */

  /* What a flush takes: of the group, while at least one of its processes flushes. */
  int64_t flush_start_bytes, flush_peak_bytes, flush_worst_bytes; /* footprint; the worst rise */
  uint64_t flushes;                                               /* that began near the mark */

  /* While a large block may not have been touched yet. */
  int64_t fresh_charged_bytes; /* what the kernel charged when it was measured last; 0: there is no such block */
  int64_t doubtful_bytes;      /* beside overhead_bytes: freed meanwhile, and perhaps kept */

  uint64_t told_crossing_ns; /* last_crossing_ns when a crossing was last told on standard error */
};

#define MEMBUDGET_HEADER_BYTES 4096u
#define MEMBUDGET_BLOCK_BYTES \
  (MEMBUDGET_HEADER_BYTES + MEMBUDGET_PROCESSES * (uint64_t)sizeof(struct membudget_process))

#ifdef __cplusplus
}
#endif

#endif
