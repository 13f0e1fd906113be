// What a sample needs of mathematics, without the tables and the code of libm: those would be cold each time, and are a
// sixth of what a sample takes.
#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>

namespace membudget::profile {

// The natural logarithm of a normal, positive number; to 4e-8. By 2 atanh((m - 1) / (m + 1)) of the mantissa.
inline double quick_log(double x) {
  constexpr double kLn2 = 0.69314718055994531, kSqrt2 = 1.4142135623730951;
  constexpr uint64_t kMantissa = (UINT64_C(1) << 52) - 1, kOne = UINT64_C(1023) << 52;
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  auto exponent = static_cast<double>(static_cast<int>(bits >> 52) - 1023);
  bits = (bits & kMantissa) | kOne;
  double m;
  memcpy(&m, &bits, sizeof m);
  if (m > kSqrt2) m /= 2, exponent += 1;
  double t = (m - 1) / (m + 1), square = t * t;
  return exponent * kLn2 + 2 * t * (1 + square * (1.0 / 3 + square * (1.0 / 5 + square * (1.0 / 7))));
}

// How many blocks one sampled block stands for, which is sampled with probability 1 - exp(-share): the inverse of that.
inline double blocks_stood_for(double share) {
  constexpr double kSmall = 0.03;  // up to there by the first terms of its series, to 2e-9
  return share < kSmall ? 1 / share + 0.5 + share / 12 : -1 / expm1(-share);
}

}  // namespace membudget::profile
