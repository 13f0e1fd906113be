// The block file: naming, creating, opening, checking, and its process slots.
//
// Used inside libmembudget.so, so: no allocation, no exceptions, no C++ library; system calls and plain
// memory only. Nothing read from a block is trusted before header_is_ours() has accepted it, and sizes and
// counts are never taken from the block afterwards: they are this version's constants.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <membudget/abi.h>

// Where the unit tests let others step in; nothing in what is installed.
#ifndef MEMBUDGET_YIELD_POINT
#define MEMBUDGET_YIELD_POINT()
#endif

namespace membudget {

using Header = membudget_header;
using Process = membudget_process;
using Shard = membudget_shard;

// A mapped block. Plain data: copying it copies the view, not the memory.
struct Block {
  Header *header = nullptr;
  bool writable = false;

  Process *process(uint32_t slot) const {
    return reinterpret_cast<Process *>(reinterpret_cast<char *>(header) + MEMBUDGET_HEADER_BYTES) + slot;
  }
  // Slots in use so far, clamped to what there is: a scribbled header cannot send a reader astray.
  uint32_t process_high() const;
};

// Whether it is the header of a block of this version: magic, version, sizes and counts.
bool header_is_ours(const Header *);

// Whether `name` is one that a group may have: [A-Za-z0-9._-]{1,64}. A file name only with the prefix before it.
bool name_is_valid(const char *name);

// Writes DIRECTORY/membudget-NAME into `path`. False when that is too long or the name is not valid.
bool block_path(const char *directory, const char *name, char *path, size_t path_size);

// Maps an existing block, after checking its owner (this user, or anyone's for root and for reading),
// type, size, magic and version. 0 or -errno: -ENOENT, -EACCES, -EPROTO (other version or damaged).
int block_open(const char *path, Block *out);

// A process's place in a group.
struct BlockMember {
  Block block;
  Process *process = nullptr;  // NULL: all slots are taken
  bool created = false;        // this process made the block, so it sets the limits
  bool was_member = false;     // it had the slot before an exec
};

// Takes a slot in the block of the group `name`, which is created when there is none or only a stale one
// (of another boot, or without a living process). Safe against others that create, join or remove it at
// the same time. 0 or -errno: -ENOSPC when the folder is full, -EACCES when another user's file is in the
// way, -EPROTO when a file of another version is, -EFBIG when `ulimit -f` forbids it, -EINVAL for the name.
int block_join(const char *directory, const char *name, BlockMember *out);

// The same for a name that nobody chose, like a pid, which says nothing about who else has it (another pid namespace, a
// process that is no more and whose children live): begins a group, or joins one that this process is in already, and
// has not left. Where `name` is taken it becomes NAME-2, NAME-3, and so on. -EBUSY: so are all of them.
int block_begin(const char *directory, char (&name)[MEMBUDGET_NAME_MAX + 8], BlockMember *out);

// Unlinks a block of this user that no living process is a member of. True when it did.
bool block_remove_if_unused(const char *path);

// Whether a living process holds a slot, were it one that another program is executed in by now.
bool block_is_in_use(const Block &);

// False too where it cannot be told, for want of /proc.
bool block_is_of_this_boot(const Block &);

// A block that no other process can see: for when no file can be had. 0 or -errno.
int block_create_private(const char *name, Block *out);

void block_close(Block *);

// Takes memory for the pages of [address, address + bytes), page-aligned, of a file that nobody has written to
// there; what somebody did write meanwhile stays (before Linux 5.14 but for each page's first word). False where there
// is none: a touch would then raise SIGBUS (a full file system, a truncated file).
bool block_populate(void *address, size_t bytes);

// --- process slots ---

// Field 22 of /proc/PID/stat, as in a time namespace without an offset; 0 when there is no such process. About 10 us.
uint64_t process_start_time(int32_t pid);

// Whether the slot's process lives: by pid and start time; a process of another pid namespace than ours
// counts as alive. About 10 us for a living one, a system call for most dead ones.
bool process_is_alive(const Process *);

// Whether it lives, too, and has not executed another program since it took the slot: what it counted is still there.
// Counts as such where that cannot be told (a process that may not be looked at, no /proc). Costs the same.
bool process_is_as_it_was(const Process *);

// The same for a process of our own pid namespace; a `start_time` of 0 is not compared.
bool pid_is_alive(int32_t pid, uint64_t start_time);

// Takes a slot for the calling process: the one it had before an exec, else a free one, else a dead
// one's. NULL when all are taken by the living, or no memory can be had for it. Everything in it is zero
// but state (STARTING), pid, start_time, pid_namespace, generation, code_end and stack_start. `was_member`: it is the
// one it had. Takes the lock.
Process *process_claim(const Block &, int32_t pid, uint64_t pid_namespace, bool *was_member = nullptr);

// Publishes a slot that has been filled in: from here on it is counted.
void process_publish(Process *);

// Frees the slots of processes that died without a word, and marks those that execute another program: neither counts
// any more. `but` is left alone. Returns how many. The caller holds the lock.
uint32_t process_reap(const Block &, const Process *but);

// The inode of this process's pid namespace, 0 when /proc does not tell.
uint64_t own_pid_namespace();

}  // namespace membudget
