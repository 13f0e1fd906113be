// How this build differs: sanitizers take time.
#pragma once

namespace membudget::unit {

#if defined(__SANITIZE_THREAD__)
constexpr int kSlowdown = 20;
#elif defined(__SANITIZE_ADDRESS__)
constexpr int kSlowdown = 4;
#else
constexpr int kSlowdown = 1;
#endif

// Whether what the code writes to is taken twice: ThreadSanitizer keeps a shadow of it.
constexpr bool kMemoryHasShadow = kSlowdown == 20;

constexpr int scaled(int calls) { return calls / kSlowdown; }

// Whether an addition of the ledger's is one instruction: then no signal handler can come in between.
#if defined(__x86_64__) && !defined(MEMBUDGET_PORTABLE_ADD)
constexpr bool kAddIsOneInstruction = true;
#else
constexpr bool kAddIsOneInstruction = false;
#endif

}  // namespace membudget::unit
