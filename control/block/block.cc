#include "control/block/block.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "control/block/guard.h"
#include "control/block/system.h"

namespace membudget {
namespace {

constexpr int kTries = 100;  // of 10 ms: how long a block's starter or remover is waited for
constexpr int kMostNames = 999;

bool is_name_character(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

// Reads a small file of /proc into `text`, without its newline. Empty when it cannot be read.
void read_line(const char *path, char *text, size_t size) {
  text[0] = '\0';
  int fd = system_open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  ssize_t length = system_read(fd, text, size - 1);
  system_close(fd);
  text[length > 0 ? length : 0] = '\0';
  text[strcspn(text, "\n")] = '\0';
}

constexpr size_t kBootIdBytes = sizeof Header{}.boot_id;

void read_boot_id(char (&boot_id)[kBootIdBytes]) {
  read_line("/proc/sys/kernel/random/boot_id", boot_id, sizeof boot_id);
}

void header_fill(Header *h, const char *name) {
  h->abi_version = MEMBUDGET_ABI_VERSION;
  h->header_bytes = MEMBUDGET_HEADER_BYTES;
  h->block_bytes = MEMBUDGET_BLOCK_BYTES;
  h->process_bytes = sizeof(Process);
  h->process_count = MEMBUDGET_PROCESSES;
  h->shard_offset = offsetof(Process, shards);
  h->shard_bytes = sizeof(Shard);
  h->shard_count = MEMBUDGET_SHARDS;
  h->owner_uid = geteuid();
  h->created_ns = realtime_ns();
  h->pid_namespace = own_pid_namespace();
  read_boot_id(h->boot_id);
  strncpy(h->name, name, sizeof h->name - 1);
  __atomic_store_n(&h->magic, MEMBUDGET_MAGIC, __ATOMIC_RELEASE);
}

// Maps the open file. 0 or -errno.
int map_file(int fd, bool writable, Block *out) {
  int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
  void *memory = system_mmap(nullptr, MEMBUDGET_BLOCK_BYTES, protection, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) return -errno;
  guard_add(memory, MEMBUDGET_BLOCK_BYTES);
  *out = {static_cast<Header *>(memory), writable};
  return 0;
}

// Opens for writing if that is allowed, else for reading. A file of somebody else is refused to all but
// root, who may read it: what another user planted must not be written to.
int open_checked(const char *path, bool *writable) {
  int fd = system_open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
  *writable = fd >= 0;
  if (fd < 0 && errno == EACCES) fd = system_open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return errno == ELOOP ? -EPROTO : -errno;
  struct stat about;
  int error = 0;
  if (fstat(fd, &about) != 0)
    error = -errno;
  else if (about.st_uid != geteuid() && geteuid() != 0)
    error = -EACCES;
  else if (!S_ISREG(about.st_mode) || about.st_size < static_cast<off_t>(MEMBUDGET_BLOCK_BYTES))
    error = -EPROTO;
  if (about.st_uid != geteuid()) *writable = false;
  if (error == 0) return fd;
  system_close(fd);
  return error;
}

bool same_file(int fd, const char *path) {
  struct stat open_file, named_file;
  return fstat(fd, &open_file) == 0 && lstat(path, &named_file) == 0 && open_file.st_ino == named_file.st_ino &&
         open_file.st_dev == named_file.st_dev;
}

// Locks the file against its removal. False when it is no longer the one at `path`, or never came free.
bool lock_file(int fd, const char *path) {
  for (int i = 0; i < kTries; ++i) {
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) return same_file(fd, path);
    if (errno != EWOULDBLOCK && errno != EINTR) return false;
    system_sleep(10'000'000);
  }
  return false;
}

// The mapping keeps the open file, and with it the lock, alive: closing would not release it.
void unlock_and_close(int fd) {
  flock(fd, LOCK_UN);
  system_close(fd);
}

// A process without /proc (chroot) does not take what is there for another boot's.
bool is_stale(const Block &block) {
  char boot_id[kBootIdBytes];
  read_boot_id(boot_id);
  bool is_known = boot_id[0] != '\0' && block.header->boot_id[0] != '\0';
  if (is_known && strncmp(boot_id, block.header->boot_id, sizeof boot_id) != 0) return true;
  return !block_is_in_use(block);
}

// A new file, filled in and complete, with a name of its own in `directory`. The descriptor or -errno.
int create_file(const char *directory, const char *name, char *path, size_t path_size, Block *out) {
  rlimit limit;
  if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < MEMBUDGET_BLOCK_BYTES) return -EFBIG;
  if (snprintf(path, path_size, "%s/.membudget-%d-%lx", directory, getpid(), monotonic_ns()) >=
      static_cast<int>(path_size))
    return -ENAMETOOLONG;
  int fd = system_open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) return -errno;
  int error = 0;
  if (fchmod(fd, 0600) != 0 || ftruncate(fd, MEMBUDGET_BLOCK_BYTES) != 0) error = -errno;
  if (error == 0) error = map_file(fd, true, out);
  if (error == 0 && !block_populate(out->header, MEMBUDGET_HEADER_BYTES)) {
    block_close(out);
    error = -ENOSPC;
  }
  if (error == 0) {
    header_fill(out->header, name);
    return fd;
  }
  unlink(path);
  system_close(fd);
  return error;
}

// Creates the block under its final name at once and whole, or fails with -EEXIST.
int create_block(const char *directory, const char *name, const char *path, Block *out, int *fd_out) {
  char temporary[PATH_MAX];
  int fd = create_file(directory, name, temporary, sizeof temporary, out);
  if (fd < 0) return fd;
  flock(fd, LOCK_EX | LOCK_NB);
  int error = link(temporary, path) == 0 ? 0 : -errno;
  unlink(temporary);
  if (error == 0) {
    *fd_out = fd;
    return 0;
  }
  block_close(out);
  unlock_and_close(fd);
  return error;
}

// Whether this process has a place there that it has not left: from before an exec.
bool is_member(const Block &block) {
  int32_t pid = getpid();
  uint64_t start_time = process_start_time(pid), pid_namespace = own_pid_namespace();
  for (uint32_t i = 0, high = block.process_high(); i < high; ++i) {
    const Process *p = block.process(i);
    uint32_t state = __atomic_load_n(&p->state, __ATOMIC_ACQUIRE);
    bool is_there = state == MEMBUDGET_PROCESS_LIVE || state == MEMBUDGET_PROCESS_STARTING;
    if (is_there && p->pid == pid && p->start_time == start_time && p->pid_namespace == pid_namespace) return true;
  }
  return false;
}

// Opens the existing block with its file locked, after removing it if it is stale. 0, -EAGAIN to look
// again, or -errno. One that was made under another name is refused: in a folder that others may write to, they may
// put a link to any block of ours there. With `as_member`, one that this process is not in is -EBUSY.
int join_block(const char *path, const char *name, bool as_member, Block *out, int *fd_out) {
  bool writable = false;
  int fd = open_checked(path, &writable);
  if (fd < 0) return fd;
  int error = writable ? 0 : -EACCES;
  if (error == 0 && !lock_file(fd, path)) error = -EAGAIN;
  if (error == 0) error = map_file(fd, true, out);
  if (error == 0 && (!header_is_ours(out->header) || strncmp(out->header->name, name, sizeof out->header->name) != 0)) {
    block_close(out);
    error = -EPROTO;
  }
  if (error == 0 && is_stale(*out)) {
    block_close(out);
    error = unlink(path) == 0 ? -EAGAIN : -errno;
  }
  if (error == 0 && as_member && !is_member(*out)) {
    block_close(out);
    error = -EBUSY;
  }
  if (error == 0)
    *fd_out = fd;
  else
    unlock_and_close(fd);
  return error;
}

// Joins or creates the block, and takes a slot in it. 0 or -errno.
int take_place(const char *directory, const char *name, bool as_member, BlockMember *out) {
  char path[PATH_MAX];
  if (!block_path(directory, name, path, sizeof path)) return -EINVAL;
  int error = -EAGAIN;
  int fd = -1;
  for (int i = 0; i < kTries && (error == -EAGAIN || error == -EEXIST || error == -ENOENT); ++i) {
    error = join_block(path, name, as_member, &out->block, &fd);
    out->created = false;
    if (error != -ENOENT) continue;
    error = create_block(directory, name, path, &out->block, &fd);
    out->created = error == 0;
  }
  if (error != 0) return error;
  out->process = process_claim(out->block, getpid(), own_pid_namespace(), &out->was_member);
  unlock_and_close(fd);
  return 0;
}

// Whether something of that name is there, which may be what is in the way.
bool is_taken(const char *directory, const char *name) {
  char path[PATH_MAX];
  struct stat about;
  return block_path(directory, name, path, sizeof path) && lstat(path, &about) == 0;
}

}  // namespace

uint32_t Block::process_high() const {
  uint32_t high = __atomic_load_n(&header->process_high, __ATOMIC_ACQUIRE);
  return high < MEMBUDGET_PROCESSES ? high : MEMBUDGET_PROCESSES;
}

bool header_is_ours(const Header *h) {
  return h->magic == MEMBUDGET_MAGIC && h->abi_version == MEMBUDGET_ABI_VERSION &&
         h->header_bytes == MEMBUDGET_HEADER_BYTES && h->block_bytes == MEMBUDGET_BLOCK_BYTES &&
         h->process_bytes == sizeof(Process) && h->process_count == MEMBUDGET_PROCESSES &&
         h->shard_offset == offsetof(Process, shards) && h->shard_count == MEMBUDGET_SHARDS;
}

bool name_is_valid(const char *name) {
  size_t length = 0;
  for (; name[length] != '\0'; ++length)
    if (length == MEMBUDGET_NAME_MAX || !is_name_character(name[length])) return false;
  return length > 0;
}

bool block_path(const char *directory, const char *name, char *path, size_t path_size) {
  if (!name_is_valid(name)) return false;
  int length = snprintf(path, path_size, "%s/" MEMBUDGET_FILE_PREFIX "%s", directory, name);
  return length > 0 && static_cast<size_t>(length) < path_size;
}

int block_open(const char *path, Block *out) {
  ErrnoGuard guard;
  bool writable = false;
  int fd = open_checked(path, &writable);
  if (fd < 0) return fd;
  int error = map_file(fd, writable, out);
  system_close(fd);
  if (error != 0) return error;
  if (header_is_ours(out->header)) return 0;
  block_close(out);
  return -EPROTO;
}

int block_join(const char *directory, const char *name, BlockMember *out) {
  ErrnoGuard guard;
  return take_place(directory, name, false, out);
}

int block_begin(const char *directory, char (&name)[MEMBUDGET_NAME_MAX + 8], BlockMember *out) {
  ErrnoGuard guard;
  char first[sizeof name];
  memcpy(first, name, sizeof first);
  int error = take_place(directory, name, true, out);
  for (int i = 2; i <= kMostNames && error != 0 && is_taken(directory, name); ++i) {
    char suffix[8];
    int length = snprintf(suffix, sizeof suffix, "-%d", i);
    snprintf(name, sizeof name, "%.*s%s", MEMBUDGET_NAME_MAX - length, first, suffix);
    error = take_place(directory, name, true, out);
  }
  return error;
}

bool block_is_of_this_boot(const Block &block) {
  ErrnoGuard guard;
  char boot_id[kBootIdBytes];
  read_boot_id(boot_id);
  return boot_id[0] != '\0' && strncmp(boot_id, block.header->boot_id, sizeof boot_id) == 0;
}

int block_create_private(const char *name, Block *out) {
  ErrnoGuard guard;
  void *memory = system_mmap(nullptr, MEMBUDGET_BLOCK_BYTES, PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return -errno;
  guard_add(memory, MEMBUDGET_BLOCK_BYTES);
  *out = {static_cast<Header *>(memory), true};
  header_fill(out->header, name);
  return 0;
}

void block_close(Block *block) {
  ErrnoGuard guard;
  if (block->header) {
    guard_remove(block->header);
    system_munmap(block->header, MEMBUDGET_BLOCK_BYTES);
  }
  *block = {};
}

bool block_remove_if_unused(const char *path) {
  ErrnoGuard guard;
  bool writable = false;
  int fd = open_checked(path, &writable);
  if (fd < 0) return false;
  Block block;
  bool removed = false;
  if (writable && flock(fd, LOCK_EX | LOCK_NB) == 0 && same_file(fd, path) && map_file(fd, true, &block) == 0) {
    removed = header_is_ours(block.header) && is_stale(block) && unlink(path) == 0;
    block_close(&block);
  }
  unlock_and_close(fd);
  return removed;
}

bool block_populate(void *address, size_t bytes) {
  ErrnoGuard guard;
  if (madvise(address, bytes, MADV_POPULATE_WRITE) == 0) return true;
  if (errno != EINVAL && errno != ENOSYS) return false;
  // Before Linux 5.14: have the kernel write into each page; where a touch of ours would raise SIGBUS,
  // its write fails with EFAULT.
  constexpr size_t kPage = 4096;
  for (size_t offset = 0; offset < bytes; offset += kPage) {
    char *page = static_cast<char *>(address) + offset;
    if (syscall(SYS_getcpu, page, nullptr, nullptr) != 0) return false;
    memset(page, 0, sizeof(unsigned));
  }
  return true;
}

}  // namespace membudget
