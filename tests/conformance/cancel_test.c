/* A thread that is to be cancelled: malloc is no point of cancellation, whatever the library looks up in its slow path.
 * Run with a limit and MEMBUDGET_MEASURE=footprint, for which files of /proc are read. */
#include <malloc.h>
#include <pthread.h>

#include "check.h"
#include "library.h"

enum { BLOCKS = 300, BYTES = 100000, ROUNDS = 5 };

static volatile int calls;

static void fill_and_free(void) {
  static void *blocks[BLOCKS];
  for (int round = 0; round < ROUNDS; round++) {
    for (int i = 0; i < BLOCKS; i++) {
      blocks[i] = malloc(BYTES);
      REQUIRE(blocks[i] != NULL);
      memset(blocks[i], 1, BYTES);
      calls++;
    }
    for (int i = 0; i < BLOCKS; i++) free(blocks[i]);
    malloc_trim(0);
  }
}

static void *allocate_cancelled(void *unused) {
  pthread_cancel(pthread_self());
  fill_and_free();
  pthread_testcancel();
  calls = -1;
  return unused;
}

int main(void) {
  library_check_expected();
  pthread_t thread;
  void *result;
  REQUIRE(pthread_create(&thread, NULL, allocate_cancelled, NULL) == 0);
  REQUIRE(pthread_join(thread, &result) == 0);
  CHECK(result == PTHREAD_CANCELED);
  CHECK_EQ(calls, BLOCKS * ROUNDS);
  fill_and_free();
  CHECK_EQ(calls, 2 * BLOCKS * ROUNDS);
  return check_finish();
}
