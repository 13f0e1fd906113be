/* A library loaded with RTLD_DEEPBIND takes malloc from libc itself, past whatever is preloaded. What it keeps to itself
 * does no harm: it frees where it allocated, and what passes through libstdc++ is ours on both sides. */
#include "check.h"
#include "library.h"
#include "memory.h"
#include "plugin.h"

int main(int count, char **arguments) {
  library_check_expected();
  REQUIRE(count == 2);
  for (int i = 0; i < 60; i++) {
    const struct plugin plugin = plugin_load(arguments[1], RTLD_NOW | RTLD_LOCAL | (i % 3 ? RTLD_DEEPBIND : 0));
    void *its_block = plugin.allocate(3000);
    memory_fill(its_block, 3000, 1);
    CHECK(memory_holds(its_block, 3000, 1));
    plugin.release(its_block);
    CHECK_EQ(dlclose(plugin.library), 0);
  }
  return check_finish();
}
