/* check.h: checks for test programs that run under the preloaded library, where a test framework's own
 * allocations would be in the way.
 *
 * A failed check is reported on standard error and the program goes on. check_finish() prints the count,
 * as the last line, and gives the exit status; run_preloaded.py takes a program that ends without that
 * line, or with no check made, for a failed one. Checks may be made from any thread.
 */
#ifndef TESTS_SUPPORT_CHECK_H
#define TESTS_SUPPORT_CHECK_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One of each in a program, however many files include this. */
#ifdef __cplusplus
extern "C" {
#endif
__attribute__((weak)) long check_made;
__attribute__((weak)) long check_failed;
#ifdef __cplusplus
}
#endif

enum { CHECK_REPORTED_MAX = 6 };

/* True the first few times that a check fails: then it is worth a line. */
static inline int check_count(int good) {
  __atomic_add_fetch(&check_made, 1, __ATOMIC_RELAXED);
  if (good) return 0;
  return __atomic_add_fetch(&check_failed, 1, __ATOMIC_RELAXED) <= CHECK_REPORTED_MAX;
}

#define CHECK_CONTEXT(good, ...)                                                       \
  do {                                                                                 \
    if (check_count(good)) {                                                           \
      fprintf(stderr, "%s:%d: %s: failed: %s: ", __FILE__, __LINE__, __func__, #good); \
      fprintf(stderr, __VA_ARGS__);                                                    \
      fputc('\n', stderr);                                                             \
    }                                                                                  \
  } while (0)

#define CHECK(good) CHECK_CONTEXT((good), "%s", "it does not hold")

/* Compares two integers and shows both. */
#define CHECK_EQ(actual, expected)                                                                              \
  do {                                                                                                          \
    const int64_t actual_ = (int64_t)(actual), expected_ = (int64_t)(expected);                                 \
    if (check_count(actual_ == expected_)) {                                                                    \
      fprintf(stderr, "%s:%d: %s: failed: %s is %lld (%#llx), expected %s, %lld (%#llx)\n", __FILE__, __LINE__, \
              __func__, #actual, (long long)actual_, (long long)actual_, #expected, (long long)expected_,       \
              (long long)expected_);                                                                            \
    }                                                                                                           \
  } while (0)

/* For what the rest of the program cannot do without. */
#define REQUIRE(good)                                                                        \
  do {                                                                                       \
    if (!(good)) {                                                                           \
      fprintf(stderr, "%s:%d: %s: cannot go on: %s\n", __FILE__, __LINE__, __func__, #good); \
      exit(1);                                                                               \
    }                                                                                        \
    check_count(1);                                                                          \
  } while (0)

static inline int check_finish(void) {
  if (check_failed) {
    fprintf(stderr, "%ld of %ld checks failed\n", check_failed, check_made);
    return 1;
  }
  printf("ok: %ld checks\n", check_made);
  return fflush(stdout) == 0 ? 0 : 1;
}

#endif
