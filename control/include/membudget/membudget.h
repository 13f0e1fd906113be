/* membudget/membudget.h: read and steer memory budgets from C.
 *
 * Link with libmembudget-client (pkg-config membudget). A program that runs under membudget reaches
 * its own budget with membudget_self(), any other of the same user by pid or by name with
 * membudget_open(). Every function may be called from any thread; those marked [signal-safe] also
 * from a signal handler. Errors are returned as -errno; errno itself is left alone.
 */
#ifndef MEMBUDGET_H
#define MEMBUDGET_H

#include <stddef.h>
#include <stdint.h>

#include <membudget/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MEMBUDGET_API __attribute__((visibility("default")))

/* Only for membudget_level() to read; the rest of a handle is the library's own. */
struct membudget_handle {
  const uint32_t *const *level_word; /* where the address of the group's level word is; never NULL */
};
typedef struct membudget_handle membudget_t;

/* One reading of all counters. Sizes in bytes. New members are only ever added at the end. */
struct membudget_snapshot {
  int32_t pid;    /* 0 when the target is a group; see seen_pid */
  uint32_t level; /* of the group: MEMBUDGET_NONE .. MEMBUDGET_CRITICAL */
  int64_t limit_bytes, hard_limit_bytes, low_bytes, medium_bytes, release_bytes; /* 0: none */
  int64_t live_bytes;    /* sum of the usable sizes of all blocks handed out and not yet freed */
  int64_t mapped_bytes;  /* private anonymous writable memory that the program mapped by itself */
  int64_t counted_bytes; /* live + mapped */
  int64_t peak_live_bytes, peak_counted_bytes;
  int64_t peak_error_bytes;                             /* the true peaks are at most this much above those */
  int64_t inherited_live_bytes, inherited_mapped_bytes; /* at fork; 0 for a group */
  uint64_t allocations, frees;
  uint64_t crossings;        /* of the group's limit */
  uint64_t last_crossing_ns; /* CLOCK_REALTIME; 0: never crossed */
  int64_t last_crossing_live_bytes, last_crossing_counted_bytes;
  int64_t group_live_bytes, group_counted_bytes; /* inherited bytes counted once */
  int64_t overhead_bytes, reserve_bytes;
  uint32_t processes; /* alive in the group */
  uint32_t measure;   /* MEMBUDGET_MEASURE_... */
  char name[MEMBUDGET_NAME_MAX + 8];
  char allocator[64];
  char command[256];
  char config_errors[1024];
  uint64_t uncounted_processes; /* so far, that found no free slot in the group */
  int32_t seen_pid; /* pid; 0 where the process, of another pid namespace, cannot be seen: pid is its own idea then */
  uint32_t padding;
};

/* This process's budget; NULL when it does not run under membudget. Never closed, valid for ever;
 * a forked child calls it anew. Cost: a pointer. [signal-safe] */
MEMBUDGET_API membudget_t *membudget_self(void);

/* Opens the budget of a process (`target` is its pid in decimal) or of a group (its name), looked for
 * in $MEMBUDGET_DIR, else /dev/shm. A name that is all digits is taken for a pid first. On success
 * stores a handle for membudget_close and returns 0. -ENOENT: no such target, or it is not under
 * membudget. -EACCES: it belongs to somebody else. -EPROTO: a block of another version of membudget,
 * or a damaged one. -EINVAL: no valid name. -ENOMEM. */
MEMBUDGET_API int membudget_open(const char *target, membudget_t **out);

/* The same, looked for in the folder `directory`. */
MEMBUDGET_API int membudget_open_at(const char *directory, const char *target, membudget_t **out);

/* Opens the group `name` (struct membudget_snapshot has it), and never a process: the name of a group that was given none
 * is the pid of its first process, as which membudget_open takes it. `directory` NULL: as membudget_open. Errors as
 * there. */
MEMBUDGET_API int membudget_open_group(const char *directory, const char *name, membudget_t **out);

/* Ends the use of a handle. NULL and membudget_self()'s are left as they are. */
MEMBUDGET_API void membudget_close(membudget_t *);

/* The level of the target's group: read from memory inline, no system call, about 1 ns. NULL reads as
 * MEMBUDGET_NONE. [signal-safe] */
MEMBUDGET_API uint32_t membudget_level(const membudget_t *);
#if defined(__GNUC__) && !defined(MEMBUDGET_NO_INLINE) /* else, and for dlsym, there is the library's */
extern inline __attribute__((gnu_inline)) uint32_t membudget_level(const membudget_t *budget) {
  return budget ? __atomic_load_n(*budget->level_word, __ATOMIC_ACQUIRE) & 0xffu : MEMBUDGET_NONE;
}
#endif

/* Live bytes of the process, or of the group when it was opened by name; exact when no thread is
 * inside an allocation call. Cost: a cache line for each thread. 0 for NULL. [signal-safe] */
MEMBUDGET_API int64_t membudget_live_bytes(const membudget_t *);

/* Live plus mapped bytes: what is held against the limit. [signal-safe] */
MEMBUDGET_API int64_t membudget_counted_bytes(const membudget_t *);

/* The group's limit in bytes; 0: no limit. [signal-safe] */
MEMBUDGET_API int64_t membudget_limit_bytes(const membudget_t *);

/* Sets the group's limit, 0 for none; marks given in percent move along, and the level is right for
 * the new limit when the call returns. -EINVAL: negative. -EACCES: the block is not ours to write.
 * -ESRCH: no process of the target is left. */
MEMBUDGET_API int membudget_set_limit(membudget_t *, int64_t bytes);

#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow" /* a struct and a function of one name are proper C */
#endif
/* Fills at most `size` bytes of *out (pass sizeof *out), so that programs built against older and
 * newer headers both work. 0; -EINVAL for NULL; -ESRCH when the process has ended. */
MEMBUDGET_API int membudget_snapshot(const membudget_t *, struct membudget_snapshot *out, size_t size);
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

/* Sleeps until the level is at least `level`. 0: reached. -ETIMEDOUT: not within timeout_ms
 * milliseconds (-1 waits for ever, 0 only looks). -ESRCH: the target ended. -EINTR: a signal came. */
MEMBUDGET_API int membudget_wait(membudget_t *, uint32_t level, int64_t timeout_ms);

/* Has the process (or every process of the group) hand free memory back to the kernel. For this
 * process it is done when the call returns; another does it at its next slow path. 0; -ESRCH. */
MEMBUDGET_API int membudget_trim(membudget_t *);

/* The reserve: how far below the limit the level is critical already, so that there is room for what the host does
 * then. In bytes; negative: learned, from what flushes are seen to take (15 % of the limit at first, then closer with
 * each, never past 99 %). With a learned one, in a group of processes and under a hard limit, requests of 1 MiB and
 * more are refused that would reach into it, but to a process that flushes. For the whole group; membudget_self() only, else -EINVAL. -ESRCH: not counted (any more). */
MEMBUDGET_API int membudget_set_reserve(membudget_t *, int64_t bytes);

/* Around a flush, by whichever thread: how far memory rises in between is what the reserve is learned from.
 * Errors as above. Cost: some microseconds, with the footprint measure 30. */
MEMBUDGET_API int membudget_flush_begins(membudget_t *);
MEMBUDGET_API int membudget_flush_ends(membudget_t *);

/* Parses a size as membudget understands it everywhere: "1073741824", "512M", "1.5GiB", "95%".
 * 0, or -EINVAL. */
MEMBUDGET_API int membudget_parse_amount(const char *text, struct membudget_amount *out);

/* Calls `each` for every process under membudget found in `directory` (NULL: $MEMBUDGET_DIR, else
 * /dev/shm) and of every user whose blocks can be read, until `each` returns non-zero. Removes this
 * user's blocks that no process is left of. Returns what `each` returned last, 0, or -errno. */
MEMBUDGET_API int membudget_for_each(const char *directory,
                                     int (*each)(const struct membudget_snapshot *process, void *context),
                                     void *context);

#ifdef __cplusplus
}
#endif

#endif
