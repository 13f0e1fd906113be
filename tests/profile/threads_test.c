/* Threads that end while they are sampled: what their destructors allocate and free comes after the library's own
 * destructor and the unwinder's. */
#include <limits.h>
#include <pthread.h>

#include "sampled.h"

enum { THREADS = 4, GENERATIONS = 60 };

static pthread_key_t keys[3];
static int destructions;

static void destroy(void *value) {
  const char *round = value;
  sampled_calls(3);
  __atomic_add_fetch(&destructions, 1, __ATOMIC_RELAXED);
  if (*round < PTHREAD_DESTRUCTOR_ITERATIONS) {
    char *next = malloc(500);
    REQUIRE(next != NULL);
    *next = (char)(*round + 1);
    for (int i = 0; i < 3; i++)
      if (pthread_getspecific(keys[i]) == NULL) {
        pthread_setspecific(keys[i], next);
        break;
      }
  }
  free(value);
}

static void *live(void *long_lived) {
  if (long_lived) sampled_calls(30);  // long enough for what the unwinder keeps for a thread
  char *first = malloc(700);
  REQUIRE(first != NULL);
  *first = 1;
  pthread_setspecific(keys[1], first);
  return malloc(900);
}

int main(void) {
  sampled_require();
  for (int i = 0; i < 3; i++) REQUIRE(pthread_key_create(&keys[i], destroy) == 0);
  for (int generation = 0; generation < GENERATIONS; generation++) {
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) REQUIRE(pthread_create(&threads[i], NULL, live, i % 2 ? threads : NULL) == 0);
    for (int i = 0; i < THREADS; i++) {
      void *block = NULL;
      REQUIRE(pthread_join(threads[i], &block) == 0 && block != NULL);
      free(block);
    }
  }
  CHECK(destructions >= THREADS * GENERATIONS * 2);
  return check_finish();
}
