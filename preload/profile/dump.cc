#include "preload/profile/dump.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "allocator/ledger.h"
#include "preload/profile/live_table.h"
#include "preload/profile/memory.h"
#include "preload/profile/module.h"
#include "preload/profile/sampler.h"
#include "preload/profile/stack_table.h"

namespace membudget::profile {
namespace {

// A file that is being written, through a buffer. An error is kept, and nothing is written after it.
class Output {
 public:
  static constexpr size_t kBytes = 256 << 10;

  Output(int fd, char *buffer) : fd_(fd), buffer_(buffer) {}

  void put(const void *data, size_t bytes) {
    const auto *from = static_cast<const char *>(data);
    while (bytes > 0) {
      if (used_ == kBytes) flush();
      size_t part = bytes < kBytes - used_ ? bytes : kBytes - used_;
      memcpy(buffer_ + used_, from, part);
      used_ += part, from += part, bytes -= part;
    }
  }

  void begin(uint32_t kind, size_t payload_bytes) {
    membudget_profile_record record = {kind, static_cast<uint32_t>(payload_bytes)};
    put(&record, sizeof record);
  }

  void pad(size_t payload_bytes) {
    constexpr char kZeros[8] = "";
    put(kZeros, -payload_bytes % 8);
  }

  void record(uint32_t kind, const void *payload, size_t bytes) {
    begin(kind, bytes);
    put(payload, bytes);
    pad(bytes);
  }

  void flush() {
    for (size_t done = 0; done < used_ && error_ == 0;) {
      ssize_t written = system_write(fd_, buffer_ + done, used_ - done);
      if (written >= 0)
        done += static_cast<size_t>(written);
      else if (errno != EINTR)
        error_ = -errno;
    }
    used_ = 0;
  }

  int error() const { return error_; }

 private:
  int fd_;
  char *buffer_;
  size_t used_ = 0;
  int error_ = 0;
};

struct Snapshot {
  membudget_profile_header header;
  uint32_t blocks;
  LiveBlock block[LiveTable::kEntries];
};
Snapshot *snapshot;
char *buffer;
uint32_t is_writing;

void take_header(uint32_t reason) {
  const Process *p = ledger::binding().process;
  membudget_profile_header &h = snapshot->header;
  h = {};
  h.magic = MEMBUDGET_PROFILE_MAGIC;
  h.header_bytes = sizeof h;
  h.pid = getpid();
  h.reason = reason;
  h.time_ns = realtime_ns();
  h.mean_bytes = __atomic_load_n(&p->profile_mean_bytes, __ATOMIC_RELAXED);
  h.live_bytes = process_live_bytes(p);
  h.mapped_bytes = process_mapped_bytes(p);
  h.allocated_bytes = allocated_bytes(p);
  h.allocated_before = sampler_beginning().allocated_bytes;
  h.live_before = sampler_beginning().live_bytes;
  h.lost_blocks = sampler_lost();
  h.lost_stacks = stack_table_lost();
}

void write_command(Output &out) {
  const Process *p = ledger::binding().process;
  out.record(MEMBUDGET_PROFILE_COMMAND, p->command, strnlen(p->command, sizeof p->command));
}

void write_stacks(Output &out) {
  for (uint32_t number = 0, count = stack_table_size(); number < count; ++number) {
    const Stack &s = stack_table_at(number);
    membudget_profile_stack about = {number, s.frames, s.allocated_blocks, s.allocated_bytes, s.allocated_variance};
    size_t bytes = sizeof about + s.frames * sizeof(uint64_t);
    out.begin(MEMBUDGET_PROFILE_STACK, bytes);
    out.put(&about, sizeof about);
    out.put(stack_table_frames(s), s.frames * sizeof(uint64_t));
  }
}

void write_blocks(Output &out) {
  for (uint32_t i = 0; i < snapshot->blocks; ++i)
    out.record(MEMBUDGET_PROFILE_BLOCKS, &snapshot->block[i], sizeof snapshot->block[i]);
}

void write_location(const SourceLocation &l, void *context) {
  auto &out = *static_cast<Output *>(context);
  membudget_profile_location about = {l.id, l.line, l.file_bytes, l.function_bytes};
  size_t bytes = sizeof about + l.file_bytes + l.function_bytes;
  out.begin(MEMBUDGET_PROFILE_LOCATION, bytes);
  out.put(&about, sizeof about);
  out.put(l.file, l.file_bytes);
  out.put(l.function, l.function_bytes);
  out.pad(bytes);
}

void write_maps(Output &out) {
  int fd = system_open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  char text[4096];
  for (ssize_t length; (length = system_read(fd, text, sizeof text)) > 0;)
    out.record(MEMBUDGET_PROFILE_MAPS, text, static_cast<size_t>(length));
  system_close(fd);
}

int write_all(const char *path) {
  int fd = system_open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return -errno;
  Output out(fd, buffer);
  out.put(&snapshot->header, sizeof snapshot->header);
  write_command(out);
  write_blocks(out);
  write_stacks(out);  // those of these blocks are among them: they stay for ever
  stack_module().for_each_location(write_location, &out);
  write_maps(out);
  out.record(MEMBUDGET_PROFILE_END, nullptr, 0);
  out.flush();
  system_close(fd);
  if (out.error() != 0) unlink(path);
  return out.error();
}

bool has_memory() {
  if (!buffer) buffer = static_cast<char *>(reserve(Output::kBytes));
  if (!snapshot) snapshot = static_cast<Snapshot *>(reserve(sizeof(Snapshot)));
  return buffer && snapshot;
}

}  // namespace

bool dump_begin(uint32_t reason) {
  if (!sampler_is_on() || __atomic_exchange_n(&is_writing, 1u, __ATOMIC_ACQUIRE) != 0) return false;
  ErrnoGuard guard;
  if (!has_memory()) return __atomic_store_n(&is_writing, 0u, __ATOMIC_RELEASE), false;
  take_header(reason);
  snapshot->blocks = 0;
  for_each_live([](const LiveBlock &block) { snapshot->block[snapshot->blocks++] = block; });
  return true;
}

int dump_write(const char *path) {
  ErrnoGuard guard;
  int error = write_all(path);
  __atomic_store_n(&is_writing, 0u, __ATOMIC_RELEASE);
  return error;
}

void dump_after_fork_in_child() { is_writing = 0; }

}  // namespace membudget::profile
