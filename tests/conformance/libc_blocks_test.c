/* Blocks that libc allocates for the caller are the same allocator's: they can be resized and freed, and
 * are counted. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <wchar.h>

#include "check.h"
#include "library.h"
#include "memory.h"

static int64_t live_bytes(void) {
  return library_process() ? counters_read(library_block(), library_process()).live_bytes : 0;
}

/* Grows a block of libc's, frees it, and looks whether all of it was counted. */
static void take(const char *of, void *block, int64_t before) {
  REQUIRE(block != NULL);
  const int64_t grown = live_bytes() - before;
  if (library_process()) CHECK_CONTEXT(grown >= (int64_t)malloc_usable_size(block), "%s: %lld", of, (long long)grown);
  const unsigned char first = *(unsigned char *)block;
  block = realloc(block, 100000);
  REQUIRE(block != NULL);
  CHECK(*(unsigned char *)block == first);
  free(block);
}

static void strings(void) {
  char *text = NULL;
  int64_t before = live_bytes();
  take("strdup", strdup("a string"), before);
  before = live_bytes();
  take("strndup", strndup("a string", 3), before);
  before = live_bytes();
  take("wcsdup", wcsdup(L"a wide string"), before);
  before = live_bytes();
  CHECK_EQ(asprintf(&text, "%01000d", 7), 1000);
  take("asprintf", text, before);
}

static void paths(void) {
  int64_t before = live_bytes();
  take("getcwd", getcwd(NULL, 0), before);
  before = live_bytes();
  take("realpath", realpath("/proc/self/exe", NULL), before);
  before = live_bytes();
  take("get_current_dir_name", get_current_dir_name(), before);
}

static void streams(void) {
  char *line = NULL, *buffer = NULL, *scanned = NULL;
  size_t line_size = 0, buffer_size = 0;
  FILE *file = fopen("/proc/self/status", "r");
  REQUIRE(file != NULL);
  int64_t before = live_bytes();
  CHECK(getline(&line, &line_size, file) > 0);
  take("getline", line, before);
  fclose(file);
  before = live_bytes();
  FILE *memory = open_memstream(&buffer, &buffer_size);
  REQUIRE(memory != NULL);
  for (int i = 0; i < 10000; i++) fprintf(memory, "%d ", i);
  fclose(memory);
  CHECK_EQ(strlen(buffer), buffer_size);
  take("open_memstream", buffer, before);
  before = live_bytes();
  CHECK_EQ(sscanf("word", "%ms", &scanned), 1);
  take("sscanf %ms", scanned, before);
}

int main(void) {
  library_check_expected();
  strings();
  paths();
  streams();
  return check_finish();
}
