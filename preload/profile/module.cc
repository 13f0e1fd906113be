#include "preload/profile/module.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "control/block/system.h"

namespace membudget::profile {
namespace {

const StackModule *module;
uint32_t claimed[kBuffers];

// The module's path: in the folder that this library is in.
bool module_path(char *path, size_t size) {
  Dl_info own;
  if (dladdr(reinterpret_cast<void *>(&load_stack_module), &own) == 0 || !own.dli_fname) return false;
  const char *slash = strrchr(own.dli_fname, '/');
  int folder = slash ? static_cast<int>(slash - own.dli_fname + 1) : 0;
  return snprintf(path, size, "%.*s%s", folder, own.dli_fname, kStackModuleFile) < static_cast<int>(size);
}

}  // namespace

bool load_stack_module(char *why, size_t why_size) {
  char path[PATH_MAX];
  if (!module_path(path, sizeof path)) return snprintf(why, why_size, "cannot find %s", kStackModuleFile), false;
  void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!handle) return snprintf(why, why_size, "%s", dlerror()), false;
  auto *found = static_cast<const StackModule *>(dlsym(handle, kStackModuleSymbol));
  if (!found || found->version != kStackModuleVersion) {
    dlclose(handle);
    return snprintf(why, why_size, "%s is of another version", path), false;
  }
  module = found;
  return true;
}

const StackModule &stack_module() { return *module; }

int claim_buffer() {
  constexpr int kRounds = 1000;
  for (int round = 0; round < kRounds; ++round) {
    for (int i = 0; i < kBuffers; ++i)
      if (__atomic_exchange_n(&claimed[i], 1u, __ATOMIC_ACQUIRE) == 0) return i;
    syscall(SYS_sched_yield);
  }
  return -1;
}

void release_buffer(int number) { __atomic_store_n(&claimed[number], 0u, __ATOMIC_RELEASE); }

void claim_all_buffers() {
  constexpr int kRounds = 100'000;  // rather a child that may hang than a parent that does
  for (int i = 0; i < kBuffers; ++i)
    for (int round = 0; round < kRounds && __atomic_exchange_n(&claimed[i], 1u, __ATOMIC_ACQUIRE) != 0; ++round)
      syscall(SYS_sched_yield);
}

void release_all_buffers() {
  for (int i = 0; i < kBuffers; ++i) release_buffer(i);
}

}  // namespace membudget::profile
