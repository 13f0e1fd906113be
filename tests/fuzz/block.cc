// The C readers on a block in which anything may stand: a good one with one process, over which the input is written.
// Input: groups of ten bytes, two for where (in words of 8 bytes, over header, slot and its first shards), eight for what.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <initializer_list>

#include <membudget/membudget.h>

#include "control/block/block.h"
#include "control/block/budget.h"
#include "control/client/steering.h"

namespace {

constexpr size_t kReached = MEMBUDGET_HEADER_BYTES + 2 * sizeof(membudget_process);

struct Place {
  char folder[64] = "/dev/shm/membudget-fuzz.XXXXXX";
  membudget::BlockMember member;
  char *good = nullptr;

  Place() {
    if (!mkdtemp(folder) || membudget::block_join(folder, "g", &member) != 0) abort();
    membudget::process_publish(member.process);
    good = static_cast<char *>(malloc(kReached));
    memcpy(good, member.block.header, kReached);
  }
  ~Place() {
    char path[128];
    snprintf(path, sizeof path, "%s/membudget-g", folder);
    unlink(path);
    rmdir(folder);
  }
};

Place &place() {
  static Place the;
  return the;
}

int take(const struct membudget_snapshot *, void *count) { return ++*static_cast<int *>(count) > 1000; }

void read_all(membudget_t *budget) {
  struct membudget_snapshot snapshot;
  membudget_level(budget);
  membudget_live_bytes(budget);
  membudget_limit_bytes(budget);
  membudget_snapshot(budget, &snapshot, sizeof snapshot);
  if (memchr(snapshot.name, 0, sizeof snapshot.name) == nullptr) abort();
  if (memchr(snapshot.command, 0, sizeof snapshot.command) == nullptr) abort();
  membudget_wait(budget, MEMBUDGET_CRITICAL, 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char *block = reinterpret_cast<char *>(place().member.block.header);
  memcpy(block, place().good, kReached);
  for (; size >= 10; data += 10, size -= 10) {
    size_t word = (data[0] | data[1] << 8) % (kReached / 8);
    if (word == offsetof(membudget_header, lock) / 8) continue;  // a second's wait for a thread that has it
    memcpy(block + word * 8, data + 2, 8);
  }
  char pid[16];
  snprintf(pid, sizeof pid, "%d", getpid());
  for (const char *target : {"g", static_cast<const char *>(pid)}) {
    membudget_t *budget = nullptr;
    if (membudget_open_at(place().folder, target, &budget) != 0) continue;
    read_all(budget);
    membudget_set_limit(budget, 1 << 30);
    read_all(budget);
    membudget_trim_within(budget, 0, nullptr);
    membudget_close(budget);
  }
  int count = 0;
  membudget_for_each(place().folder, take, &count);
  return 0;
}
