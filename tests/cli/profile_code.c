// Allocates by code of two kinds, then prints "ready", and allocates and frees until its standard input ends:
//   exported, which calls a static function: 100 blocks of 50,000; built optimised, without frame pointers, stripped.
//   code made at run time (x86-64), which a map for perf names: 100 blocks of 30,000.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "profile_wait.h"

static void *kept[200];
static int kept_count;

void exported(void);

__attribute__((noinline)) static int hidden(size_t bytes) {
  void *block = malloc(bytes);
  kept[kept_count++] = block;
  return block != NULL;
}

__attribute__((noinline)) void exported(void) {
  for (int i = 0; i < 100; ++i)
    if (!hidden(50000)) abort();
}

#if defined(__x86_64__)
// push %rbp; mov %rsp,%rbp; call *%rdi; pop %rbp; ret
static const unsigned char machine_code[] = {0x55, 0x48, 0x89, 0xe5, 0xff, 0xd7, 0x5d, 0xc3};
#endif

__attribute__((noinline)) static void called_back(void) { hidden(30000); }

static void call_code_made_at_run_time(void) {
#if defined(__x86_64__)
  char name[64];
  void *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (code == MAP_FAILED) abort();
  memcpy(code, machine_code, sizeof machine_code);
  if (mprotect(code, 4096, PROT_READ | PROT_EXEC) != 0) abort();
  snprintf(name, sizeof name, "/tmp/perf-%d.map", (int)getpid());
  FILE *map = fopen(name, "wx");
  if (!map) abort();
  fprintf(map, "%lx %lx LazyCompile:~made at run time\n", (unsigned long)code, (unsigned long)sizeof machine_code);
  fclose(map);
  void (*call)(void (*)(void));
  *(void **)&call = code;
  for (int i = 0; i < 100; ++i) call(called_back);
#endif
}

int main(void) {
  exported();
  call_code_made_at_run_time();
  return wait_to_be_profiled();
}
