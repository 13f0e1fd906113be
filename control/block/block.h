// The block file: naming, creating, opening, checking, and its process slots.
//
// Used inside libmembudget.so, so: no allocation, no exceptions, no C++ library; system calls and plain
// memory only. Nothing read from a block is trusted before block_check() has accepted it, and sizes and
// counts are never taken from the block afterwards: they are this version's constants.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <membudget/abi.h>

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

// Whether `name` is one that a group may have: [A-Za-z0-9._-]{1,64}, and neither "." nor "..".
bool name_is_valid(const char *name);

// Writes DIRECTORY/membudget-NAME into `path`. False when that is too long or the name is not valid.
bool block_path(const char *directory, const char *name, char *path, size_t path_size);

// Maps an existing block, after checking its owner (this user, or anyone's for root and for reading),
// type, size, magic and version. 0 or -errno: -ENOENT, -EACCES, -EPROTO (other version or damaged).
int block_open(const char *path, Block *out);

// Opens the block of the group `name`, or creates it when there is none or only a stale one (of another
// boot, or without a living process). `*created` says which. Only the creator may set the limits.
// 0 or -errno: -ENOSPC when the folder is full, -EEXIST when another user's file is in the way.
int block_open_or_create(const char *directory, const char *name, Block *out, bool *created);

// A block that no other process can see: for when no file can be had. 0 or -errno.
int block_create_private(const char *name, Block *out);

void block_close(Block *);

// Whether the pages of [address, address + bytes) can be written to: populates them without the risk of
// a SIGBUS that a first touch has on a full file system.
bool block_populate(void *address, size_t bytes);

// --- process slots ---

// Field 22 of /proc/PID/stat, 0 when there is no such process. About 10 us.
uint64_t process_start_time(int32_t pid);

// Whether the slot's process lives: by pid and start time; a process of another pid namespace than ours
// counts as alive. About 10 us for a living one, a system call for most dead ones.
bool process_is_alive(const Process *);

// Takes a slot for the calling process: the one it had before an exec, else a free one, else a dead
// one's. NULL when all are taken by the living. The slot is zeroed but for generation, and STARTING.
Process *process_claim(const Block &, int32_t pid, uint64_t start_time);

// Frees the slots of processes that died without a word. Returns how many.
uint32_t process_reap(const Block &);

}  // namespace membudget
