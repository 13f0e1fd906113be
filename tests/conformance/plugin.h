/* plugin.h: plugin.cpp, as a program loads it. */
#ifndef TESTS_CONFORMANCE_PLUGIN_H
#define TESTS_CONFORMANCE_PLUGIN_H

#include <dlfcn.h>

#include "check.h"

struct plugin {
  void *library;
  void *(*allocate)(size_t);
  void (*release)(void *);
};

/* Loaded, with what its constructors allocated in place. */
static inline struct plugin plugin_load(const char *path, int flags) {
  struct plugin plugin = {.library = dlopen(path, flags)};
  REQUIRE(plugin.library != NULL);
  size_t (*sum)(void);
  *(void **)&plugin.allocate = dlsym(plugin.library, "plugin_allocate");
  *(void **)&plugin.release = dlsym(plugin.library, "plugin_free");
  *(void **)&sum = dlsym(plugin.library, "plugin_sum");
  REQUIRE(plugin.allocate != NULL && plugin.release != NULL && sum != NULL);
  CHECK_EQ(sum(), 200 * 199 / 2 + 10000 + 500);
  return plugin;
}

#endif
