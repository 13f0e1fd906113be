// Where libmembudget.so and this program are.
#pragma once

#include <string>

namespace membudget::cli {

// The absolute path of libmembudget.so: $MEMBUDGET_LIBRARY, or the one built or installed with this program.
// Throws a Failure that says where it was looked for.
std::string find_library();

// The absolute path of this program.
std::string own_path();

}  // namespace membudget::cli
