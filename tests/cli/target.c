// A program whose memory a test steers: commands on standard input, a line each, a number in answer to each.
//   a N  allocates and touches N bytes; answers the usable size
//   f    frees what was allocated last; answers its usable size
//   h    frees all but what was allocated last; answers how many blocks that were
//   m N  maps and touches N bytes; answers N
//   l N  the same past the library, and gives them back with MADV_FREE
//   r N  the same with MAP_NORESERVE, as a garbage collector does
//   s N  starts a thread that touches N bytes of its stack and sleeps; answers N
//   k    forks a child that sleeps as long as this process lives; answers its pid
//   w    the same, but it writes to all that is allocated first; answers once it has
//   q    exits with status 7
// Reads and writes by system calls alone, so that what is counted is what was asked for.
#define _GNU_SOURCE
#include <alloca.h>
#include <malloc.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static void *blocks[4096];
static int block_count;

__attribute__((noinline)) static long allocate(long bytes) {  // tests of profiles look for its name
  void *block = malloc((size_t)bytes);
  if (!block || block_count == 4096) return -1;
  memset(block, 1, (size_t)bytes);
  blocks[block_count++] = block;
  return (long)malloc_usable_size(block);
}

static long free_last(void) {
  if (block_count == 0) return -1;
  long usable = (long)malloc_usable_size(blocks[--block_count]);
  free(blocks[block_count]);
  return usable;
}

static long map(long bytes) {
  void *memory = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return -1;
  memset(memory, 1, (size_t)bytes);
  return bytes;
}

static long free_others(void) {
  int freed = 0;
  for (; freed < block_count - 1; ++freed) free(blocks[freed]);
  if (freed > 0) blocks[0] = blocks[block_count - 1], block_count = 1;
  return freed;
}

static long map_lazily(long bytes) {
  int flags = MAP_PRIVATE | MAP_ANONYMOUS;
  long memory = syscall(SYS_mmap, NULL, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (memory == -1) return -1;
  memset((void *)memory, 1, (size_t)bytes);
  return madvise((void *)memory, (size_t)bytes, MADV_FREE) == 0 ? bytes : -1;
}

static long map_unreserved(long bytes) {
  int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  void *memory = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (memory == MAP_FAILED) return -1;
  memset(memory, 1, (size_t)bytes);
  return bytes;
}

static sem_t touched;

static void *touch_stack(void *bytes) {
  size_t size = (size_t)bytes;
  volatile char *memory = alloca(size);
  for (size_t i = 0; i < size; i += 4096) memory[i] = 1;
  sem_post(&touched);
  for (;;) pause();
  return NULL;
}

static long start_thread(long bytes) {
  pthread_t thread;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, (size_t)bytes + (1 << 20));
  if (pthread_create(&thread, &attributes, touch_stack, (void *)bytes) != 0) return -1;
  sem_wait(&touched);
  return bytes;
}

static long fork_sleeper(bool writes) {
  int done[2];
  char byte = 0;
  if (pipe(done) != 0) return -1;
  pid_t child = fork();
  if (child != 0) {
    close(done[1]);
    if (read(done[0], &byte, 1) != 1) child = -1;
    close(done[0]);
    return child;
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (int i = 0; writes && i < block_count; i++) memset(blocks[i], 2, malloc_usable_size(blocks[i]));
  if (write(done[1], &byte, 1) != 1) _exit(1);
  for (;;) pause();
}

static long obey(const char *line) {
  switch (line[0]) {
    case 'a': return allocate(atol(line + 1));
    case 'f': return free_last();
    case 'h': return free_others();
    case 'l': return map_lazily(atol(line + 1));
    case 'r': return map_unreserved(atol(line + 1));
    case 's': return start_thread(atol(line + 1));
    case 'm': return map(atol(line + 1));
    case 'k': return fork_sleeper(false);
    case 'w': return fork_sleeper(true);
    case 'q': exit(7);
    default: return -1;
  }
}

static void answer(long number) {
  char text[24];
  int at = sizeof text;
  unsigned long rest = number < 0 ? 0ul - (unsigned long)number : (unsigned long)number;
  text[--at] = '\n';
  do {
    text[--at] = (char)('0' + rest % 10);
    rest /= 10;
  } while (rest != 0);
  if (number < 0) text[--at] = '-';
  if (write(STDOUT_FILENO, text + at, sizeof text - (size_t)at) < 0) exit(1);
}

int main(void) {
  char line[64];
  size_t length = 0;
  while (length < sizeof line - 1 && read(STDIN_FILENO, line + length, 1) == 1) {
    if (line[length++] != '\n') continue;
    line[length] = '\0';
    length = 0;
    answer(obey(line));
  }
  return 0;
}
