// <membudget/membudget.h> for C++ files that live in namespace membudget.
#pragma once

#include <membudget/membudget.h>

namespace membudget {

using Snapshot = struct ::membudget_snapshot;

}  // namespace membudget
