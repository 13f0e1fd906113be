// Handing free memory back to the kernel, on request.
#pragma once

#include <stdint.h>

namespace membudget {

// Has the allocator in force give back what it can. Returns by how much the resident set fell, in bytes;
// 0 when it did not. Takes as long as the allocator takes: milliseconds for a large heap.
int64_t trim_now();

// Answers the requests made through the process's slot. Runs in the ledger's slow path.
void trim_on_request();

}  // namespace membudget
