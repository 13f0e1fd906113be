/* outside.h: talks to outside_reader, a process that reads this one's counters from the block file.
 *
 * outside_ask() allocates nothing, so that what is read is what was there before. Not for several threads at
 * a time.
 */
#ifndef TESTS_SUPPORT_OUTSIDE_H
#define TESTS_SUPPORT_OUTSIDE_H

#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "library.h"

extern char **environ;

struct outside {
  pid_t pid;
  int to, from;
};

/* The block's file: MEMBUDGET_DIR/membudget-NAME. */
static inline void outside_block_path(char *path, size_t size) {
  const char *directory = getenv("MEMBUDGET_DIR");
  snprintf(path, size, "%s/%s%s", directory ? directory : MEMBUDGET_DEFAULT_DIR, MEMBUDGET_FILE_PREFIX,
           library_block()->name);
}

/* Starts the reader `program` for this process; it does not run under the library itself. */
static inline struct outside outside_start(const char *program) {
  char path[500], pid[20];
  int to[2], from[2];
  outside_block_path(path, sizeof path);
  snprintf(pid, sizeof pid, "%d", (int)getpid());
  REQUIRE(pipe(to) == 0 && pipe(from) == 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, to[0], 0);
  posix_spawn_file_actions_adddup2(&actions, from[1], 1);
  for (int i = 0; i < 2; i++) {
    posix_spawn_file_actions_addclose(&actions, to[i]);
    posix_spawn_file_actions_addclose(&actions, from[i]);
  }
  char *const arguments[] = {(char *)program, path, pid, NULL}, *const no_environment[] = {NULL};
  struct outside reader = {0, to[1], from[0]};
  REQUIRE(posix_spawn(&reader.pid, program, &actions, NULL, arguments, no_environment) == 0);
  posix_spawn_file_actions_destroy(&actions);
  close(to[0]);
  close(from[1]);
  return reader;
}

static inline void outside_send(const struct outside *reader, const char *command) {
  REQUIRE(write(reader->to, command, strlen(command)) == (ssize_t)strlen(command));
}

/* One line of answer, without its end. */
static inline void outside_receive(const struct outside *reader, char *line, size_t size) {
  size_t length = 0;
  while (length + 1 < size && read(reader->from, line + length, 1) == 1 && line[length] != '\n') length++;
  line[length] = 0;
}

/* What the outside reader sees now. */
static inline struct counters outside_ask(const struct outside *reader) {
  char line[200], *at = line;
  struct counters seen = {0, 0, 0, 0, 0};
  outside_send(reader, "r\n");
  outside_receive(reader, line, sizeof line);
  REQUIRE(line[0] != 0);
  seen.live_bytes = strtoll(at, &at, 10);
  seen.mapped_bytes = strtoll(at, &at, 10);
  seen.allocations = strtoull(at, &at, 10);
  seen.frees = strtoull(at, &at, 10);
  seen.counted_bytes = seen.live_bytes + seen.mapped_bytes;
  return seen;
}

static inline void outside_stop(const struct outside *reader) {
  int status = -1;
  close(reader->to);
  close(reader->from);
  REQUIRE(waitpid(reader->pid, &status, 0) == reader->pid);
  CHECK_EQ(status, 0);
}

#endif
