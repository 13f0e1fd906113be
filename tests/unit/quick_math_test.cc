// What samples are drawn and weighed by, against libm.
#include "preload/profile/quick_math.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace membudget::profile {
namespace {

TEST(QuickMath, LogarithmsAreRightToSevenDigits) {
  std::mt19937_64 random(1);
  std::uniform_real_distribution<double> exponents(-53, 1);
  for (int i = 0; i < 1'000'000; ++i) {
    const double x = std::exp2(exponents(random));
    ASSERT_NEAR(quick_log(x), std::log(x), 4e-8) << x;
  }
  for (double x : {0x1p-53, 0.5, std::nextafter(1.0, 0.0), 1.0, 1.4142135623730951, 2.0})
    EXPECT_NEAR(quick_log(x), std::log(x), 4e-8) << x;
  EXPECT_EQ(quick_log(1.0), 0);
}

TEST(QuickMath, SamplesStandForTheInverseOfTheirProbability) {
  for (double share = 1e-9; share < 100; share *= 1.01) {
    const double exact = -1 / std::expm1(-share);
    ASSERT_NEAR(blocks_stood_for(share), exact, 2e-9 * exact) << share;
  }
  EXPECT_EQ(blocks_stood_for(1000), 1);
}

}  // namespace
}  // namespace membudget::profile
