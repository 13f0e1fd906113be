// Sizes as people write them: "1073741824", "512M", "1.5GiB", "95%".
#pragma once

#include <membudget/abi.h>

namespace membudget {

// Parses `text` whole. False when it is not a size: empty, a sign, blanks, a unit that is none, a part of
// a byte, a percentage above 100, or more than 2^62 bytes. Accepts units in either case.
bool amount_parse(const char *text, membudget_amount *out);

// Whether it is a size, but for being more than 2^62 bytes.
bool amount_is_too_large(const char *text);

// The bytes an amount stands for, given the whole that a percentage is a share of. 0 when it is not set.
int64_t amount_bytes(const membudget_amount &, int64_t whole_bytes);

// Whether it is a percentage, which follows the whole.
inline bool amount_is_share(const membudget_amount &amount) {
  return amount.is_set && amount.unit == MEMBUDGET_UNIT_MILLIONTHS;
}

}  // namespace membudget
