/* sampled.h: what the tests of sampling within a program share. */
#ifndef TESTS_PROFILE_SAMPLED_H
#define TESTS_PROFILE_SAMPLED_H

#include <link.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

static int sampled_is_stack_module(struct dl_phdr_info *object, size_t size, void *unused) {
  (void)size, (void)unused;
  return strstr(object->dlpi_name, "libmembudget-stacks.so") != NULL;
}

/* A test without sampling would prove nothing. */
static inline void sampled_require(void) {
  if (getenv("TEST_ALLOCATOR")) REQUIRE(dl_iterate_phdr(sampled_is_stack_module, NULL) == 1);
}

/* Allocates, moves and frees a little: with a mean of some hundred bytes nearly each call is sampled. */
__attribute__((noinline)) static void sampled_calls(int times) {
  for (int i = 0; i < times; i++) {
    char *volatile block = malloc(600);
    REQUIRE(block != NULL);
    memset(block, i, 600);
    block = realloc(block, 3000);
    REQUIRE(block != NULL && block[599] == (char)i);
    free(block);
    block = calloc(3, 400);
    REQUIRE(block != NULL && block[1199] == 0);
    free(block);
  }
}

#endif
