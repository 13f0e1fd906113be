// Handles: making, looking through and closing them; self, by way of the preloaded library.
#include "control/client/handle.h"

#include <dlfcn.h>
#include <stdlib.h>

#include "control/client/whereabouts.h"

namespace membudget::client {
namespace {

// The functions libmembudget.so exports for this library. Looked up when the program starts, since dlsym
// may not be called from a signal handler; the preloaded library is always there before us.
struct Preload {
  void *(*block)() = nullptr;
  void *(*process)() = nullptr;
  int (*set_limit)(int64_t) = nullptr;
  int64_t (*trim)() = nullptr;
  int (*set_reserve)(int64_t) = nullptr;
  int (*flush_begins)() = nullptr;
  int (*flush_ends)() = nullptr;
  const uint32_t *const *(*level_word)() = nullptr;
};

Preload preload;
constinit Handle self_handle{};

template <typename Function>
void look_up(Function *out, const char *symbol) {
  *out = reinterpret_cast<Function>(dlsym(RTLD_DEFAULT, symbol));
}

__attribute__((constructor)) void look_up_preload() {
  look_up(&preload.block, "membudget_preload_block");
  look_up(&preload.process, "membudget_preload_process");
  look_up(&preload.set_limit, "membudget_preload_set_limit");
  look_up(&preload.trim, "membudget_preload_trim");
  look_up(&preload.set_reserve, "membudget_preload_set_reserve");
  look_up(&preload.flush_begins, "membudget_preload_flush_begins");
  look_up(&preload.flush_ends, "membudget_preload_flush_ends");
  look_up(&preload.level_word, "membudget_preload_level_word");
  self_handle.is_self = true;
  self_handle.level_word = preload.level_word ? preload.level_word() : nullptr;
}

Header *preload_header() { return preload.block ? static_cast<Header *>(preload.block()) : nullptr; }

Process *preload_process() { return preload.process ? static_cast<Process *>(preload.process()) : nullptr; }

}  // namespace

bool preload_is_there() { return preload_header() != nullptr; }

int preload_set_limit(int64_t bytes) { return preload.set_limit ? preload.set_limit(bytes) : -ESRCH; }

int64_t preload_trim() { return preload.trim ? preload.trim() : 0; }

int preload_set_reserve(int64_t bytes) { return preload.set_reserve ? preload.set_reserve(bytes) : -ESRCH; }

int preload_flush(bool begins) {
  auto *flush = begins ? preload.flush_begins : preload.flush_ends;
  return flush ? flush() : -ESRCH;
}

void preload_leave() {
  Process *own = preload_process();
  if (!own) return;
  __atomic_store_n(&own->state, MEMBUDGET_PROCESS_LEAVING, __ATOMIC_RELEASE);
  budget_evaluate({preload_header(), true});
}

bool slot_is_own(const Process *p) {
  const Process *own = preload_process();
  return own && p->pid == own->pid && p->start_time == own->start_time && p->pid_namespace == own->pid_namespace;
}

View view_of(const membudget_t *budget) {
  const Handle *handle = handle_of(budget);
  if (!handle) return {};
  if (handle->is_self) return {{preload_header(), true}, preload_process()};
  if (handle->process && !handle_owns_slot(*handle, handle->process)) return {};
  return {handle->block, handle->process};
}

const Header *header_of(const membudget_t *budget) {
  const Handle *handle = handle_of(budget);
  if (!handle) return nullptr;
  return handle->is_self ? preload_header() : handle->block.header;
}

membudget_t *handle_create(const Block &block, Process *process) {
  auto *handle = static_cast<Handle *>(calloc(1, sizeof(Handle)));
  if (!handle) return nullptr;
  handle->block = block;
  handle->process = process;
  if (process) handle->pid = process->pid, handle->start_time = process->start_time;
  handle->own_level_word = &block.header->level_word;
  handle->level_word = &handle->own_level_word;
  return handle;
}

bool slot_is_held(const Process *p) {
  uint32_t state = __atomic_load_n(&p->state, __ATOMIC_ACQUIRE);
  return state != MEMBUDGET_PROCESS_FREE && state != MEMBUDGET_PROCESS_LEAVING && process_is_alive(p);
}

bool slot_is_taken(const Process *p) {
  uint32_t state = __atomic_load_n(&p->state, __ATOMIC_ACQUIRE);
  return (state == MEMBUDGET_PROCESS_LIVE || state == MEMBUDGET_PROCESS_STARTING) && process_is_as_it_was(p);
}

bool slot_is_live(const Process *p) {
  return __atomic_load_n(&p->state, __ATOMIC_ACQUIRE) == MEMBUDGET_PROCESS_LIVE && slot_is_taken(p);
}

bool anybody_lives(const Block &block) {
  reap_from_elsewhere(block);
  return block_is_in_use(block);
}

bool handle_owns_slot(const Handle &handle, const Process *p) {
  return __atomic_load_n(&p->pid, __ATOMIC_RELAXED) == handle.pid &&
         __atomic_load_n(&p->start_time, __ATOMIC_RELAXED) == handle.start_time;
}

bool target_is_alive(const membudget_t *budget) {
  const Handle *handle = handle_of(budget);
  if (handle->is_self) return true;
  View view = view_of(budget);
  if (!view.block.header) return false;
  if (!view.process) return anybody_lives(view.block);
  reap_from_elsewhere(view.block);
  return slot_is_held(view.process);
}

}  // namespace membudget::client

using namespace membudget::client;

membudget_t *membudget_self(void) { return preload_is_there() && self_handle.level_word ? &self_handle : nullptr; }

void membudget_close(membudget_t *budget) {
  if (!budget || handle_of(budget)->is_self) return;
  auto *handle = static_cast<Handle *>(budget);
  int saved_errno = errno;
  block_close(&handle->block);
  free(handle);
  errno = saved_errno;
}
