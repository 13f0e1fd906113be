#include "preload/damage.h"

#include <stdio.h>
#include <string.h>

#include "allocator/ledger.h"
#include "control/block/guard.h"
#include "control/block/system.h"
#include "preload/interface.h"
#include "preload/startup.h"

namespace membudget {
namespace {

char message[MEMBUDGET_NAME_MAX + 160];  // made beforehand: it is written in a signal handler
uint32_t is_told;

// [signal-safe]
void stop_counting() {
  startup_stop_counting();
  interface_follow();
  if (__atomic_exchange_n(&is_told, 1u, __ATOMIC_RELAXED) != 0 || message[0] == '\0') return;
  if (system_write(STDERR_FILENO, message, strlen(message)) < 0) return;
}

void on_loss(void *address) {  // cppcheck-suppress constParameter  ; what guard_on_loss takes
  if (address == ledger::binding().block.header) stop_counting();
}

}  // namespace

void damage_watch(const Settings &settings) {
  if (settings.log != Log::quiet)
    snprintf(message, sizeof message,
             "membudget: the block of %s was cut short or overwritten: this process runs on without its budget\n",
             settings.name);
  guard_on_loss(on_loss);
}

void damage_found() {
  guard_replace(ledger::binding().block.header);
  stop_counting();
}

}  // namespace membudget
