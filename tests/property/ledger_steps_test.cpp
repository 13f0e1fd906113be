// Live bytes after every single operation of one thread: whatever loses a byte is named.
//
// ledger_steps_test OPERATIONS
#include "books.h"
#include "check.h"
#include "library.h"
#include "operations.h"

extern "C" void early_free_all(void);

int main(int count, char **arguments) {
  const Reference reference = reference_find();
  books_agree(reference, nullptr, "at the start of main");
  library_check_expected();
  REQUIRE(count == 2);
  uint64_t random = operations_seed();
  const long operations = atol(arguments[1]);
  for (long i = 0; i < operations; i++) {
    const Operation done = operate(&random);
    if (!books_agree(reference, nullptr, done.name)) {
      fprintf(stderr, "step %ld: %s(%zu, %zu)\n", i, done.name, done.first, done.second);
      break;
    }
  }
  operations_free_all();
  early_free_all();
  books_agree(reference, nullptr, "with all freed");
  return check_finish();
}
