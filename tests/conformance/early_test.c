/* Blocks from before libc's own constructor has run, when there is no environment yet to choose an allocator by:
 * a .preinit_array function of the program. They are the chosen allocator's, or the start-up's, and stay whole. */
#include <malloc.h>
#include <stdlib.h>

#include "check.h"
#include "library.h"
#include "memory.h"

extern char **environ;

enum { BLOCKS = 40 };

static void *blocks[BLOCKS];
static int had_no_environment;

static size_t size_of(unsigned i) { return 1 + 997 * i; }

static void first(int count, char **arguments, char **variables) {
  (void)count;
  (void)arguments;
  (void)variables;
  had_no_environment = environ == NULL;
  for (unsigned i = 0; i < BLOCKS; i++) {
    blocks[i] = i % 3 ? malloc(size_of(i)) : calloc(1, size_of(i));
    memory_fill(blocks[i], size_of(i), i);
  }
}

__attribute__((section(".preinit_array"), used)) static void (*const entry)(int, char **, char **) = first;

int main(void) {
  library_check_expected();
  CHECK(had_no_environment);  // or this test shows nothing
  for (unsigned i = 0; i < BLOCKS; i++) {
    CHECK(blocks[i] != NULL && malloc_usable_size(blocks[i]) >= size_of(i));
    CHECK(memory_holds(blocks[i], size_of(i), i));
    if (i % 2) blocks[i] = realloc(blocks[i], 2 * size_of(i));
    CHECK(memory_holds(blocks[i], size_of(i), i));
    free(blocks[i]);
  }
  return check_finish();
}
