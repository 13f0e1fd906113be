/* refusals.h: requests that have to fail, as malloc's fail. */
#ifndef TESTS_CONFORMANCE_REFUSALS_H
#define TESTS_CONFORMANCE_REFUSALS_H

#include <errno.h>

#include "check.h"

/* NULL and ENOMEM. */
#define CHECK_REFUSED(call)  \
  do {                       \
    errno = 0;               \
    CHECK((call) == NULL);   \
    CHECK_EQ(errno, ENOMEM); \
  } while (0)

#endif
