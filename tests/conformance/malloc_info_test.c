/* malloc_info(3): XML to the given stream; and malloc_stats(3): to standard error, nothing else. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <unistd.h>

#include "check.h"
#include "library.h"
#include "memory.h"

static char text[1 << 20];

static size_t read_back(int file) {
  const ssize_t got = pread(file, text, sizeof text - 1, 0);
  REQUIRE(got >= 0);
  text[got] = 0;
  return (size_t)got;
}

static int temporary_file(void) {
  const int file = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  REQUIRE(file >= 0);
  return file;
}

/* Every tag that is opened is closed, in order: enough of XML for what is written here. */
static int is_well_formed(const char *xml) {
  const char *open_tags[64];
  int depth = 0, elements = 0;
  for (const char *at = strchr(xml, '<'); at; at = strchr(at + 1, '<')) {
    const char *end = strchr(at, '>');
    if (!end || depth == 63) return 0;
    if (at[1] == '?' || at[1] == '!') continue;
    if (at[1] == '/') {
      const size_t length = (size_t)(end - at - 2);
      if (depth == 0 || strncmp(open_tags[--depth], at + 2, length) != 0) return 0;
    } else if (end[-1] != '/') {
      open_tags[depth++] = at + 1;
    }
    elements++;
  }
  return depth == 0 && elements > 0;
}

static void info_is_xml(void) {
  const int file = temporary_file();
  FILE *stream = fdopen(dup(file), "w");
  REQUIRE(stream != NULL);
  CHECK_EQ(malloc_info(0, stream), 0);
  CHECK_EQ(fclose(stream), 0);
  CHECK(read_back(file) > 0);
  CHECK(strncmp(text, "<malloc", 7) == 0 || strncmp(text, "<?xml", 5) == 0);
  CHECK(strstr(text, "</malloc>") != NULL);
  CHECK_CONTEXT(is_well_formed(text), "%s", text);
  close(file);
}

/* The man page has it return -1, glibc 2.36 returns EINVAL itself: either, and nothing is written. */
static void options_other_than_zero_are_refused(void) {
  const int file = temporary_file();
  FILE *stream = fdopen(dup(file), "w");
  REQUIRE(stream != NULL);
  errno = 0;
  const int result = malloc_info(1, stream);
  CHECK_CONTEXT(result == EINVAL || (result == -1 && errno == EINVAL), "%d, errno %d", result, errno);
  fclose(stream);
  CHECK_EQ(read_back(file), 0);
  close(file);
}

static void stats_go_to_standard_error_only(void) {
  const int file = temporary_file(), none = temporary_file();
  const int saved_output = dup(1), saved_error = dup(2);
  fflush(NULL);
  dup2(none, 1);
  dup2(file, 2);
  malloc_stats();
  fflush(NULL);
  dup2(saved_output, 1);
  dup2(saved_error, 2);
  CHECK(read_back(file) > 20);
  CHECK_EQ(read_back(none), 0);
  close(file);
  close(none);
  close(saved_output);
  close(saved_error);
}

int main(void) {
  library_check_expected();
  void *block = malloc(100000);
  info_is_xml();
  options_other_than_zero_are_refused();
  stats_go_to_standard_error_only();
  free(block);
  return check_finish();
}
