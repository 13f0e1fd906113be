// <membudget/membudget.h> for C++ files that live in namespace membudget.
#pragma once

#define MEMBUDGET_NO_INLINE  // the functions themselves are defined here
#include <membudget/membudget.h>

namespace membudget {

using Snapshot = struct ::membudget_snapshot;

}  // namespace membudget
