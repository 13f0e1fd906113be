/* outside_reader FILE PID: reads a process's counters from the block file, as a stranger does who has nothing
 * but membudget/abi.h. For every line on standard input it answers with one line:
 *   r    live mapped allocations frees level   now
 *   w    woken N                               once the level word changes (futex), N the level; or "timeout"
 * Ends with its input. Refuses a block that abi.h says to refuse.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "library.h"

static const struct membudget_header *map_block(const char *path) {
  struct stat status;
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  REQUIRE(file >= 0 && fstat(file, &status) == 0);
  void *memory = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, file, 0);
  REQUIRE(memory != MAP_FAILED);
  const struct membudget_header *block = memory;
  REQUIRE((size_t)status.st_size >= sizeof *block);
  REQUIRE(block->magic == MEMBUDGET_MAGIC && block->abi_version == MEMBUDGET_ABI_VERSION);
  REQUIRE(block->block_bytes <= (uint64_t)status.st_size);
  return block;
}

/* The slot of the living process `pid`; NULL when there is none. */
static const struct membudget_process *find_process(const struct membudget_header *block, int pid) {
  for (uint32_t i = 0; i < block->process_high && i < block->process_count; i++) {
    const struct membudget_process *process =
        (const void *)((const char *)block + block->header_bytes + (uint64_t)i * block->process_bytes);
    if (__atomic_load_n(&process->state, __ATOMIC_ACQUIRE) == MEMBUDGET_PROCESS_LIVE && process->pid == pid)
      return process;
  }
  return NULL;
}

static void wait_for_change(const struct membudget_header *block) {
  const uint32_t seen = __atomic_load_n(&block->level_word, __ATOMIC_ACQUIRE);
  const struct timespec most = {20, 0};
  printf("waiting\n");
  fflush(stdout);
  while (__atomic_load_n(&block->level_word, __ATOMIC_ACQUIRE) == seen) {
    if (syscall(SYS_futex, &block->level_word, FUTEX_WAIT, seen, &most, NULL, 0) == 0 || errno == EAGAIN) continue;
    if (errno == EINTR) continue;
    printf("timeout\n");
    return;
  }
  printf("woken %u\n", library_level(block));
}

int main(int count, char **arguments) {
  char line[16];
  REQUIRE(count == 3);
  const struct membudget_header *block = map_block(arguments[1]);
  const struct membudget_process *process = find_process(block, atoi(arguments[2]));
  REQUIRE(process != NULL);
  while (fgets(line, sizeof line, stdin)) {
    if (line[0] == 'w') {
      wait_for_change(block);
    } else {
      const struct counters now = counters_read(block, process);
      printf("%lld %lld %llu %llu %u\n", (long long)now.live_bytes, (long long)now.mapped_bytes,
             (unsigned long long)now.allocations, (unsigned long long)now.frees, library_level(block));
    }
    fflush(stdout);
  }
  return 0;
}
