#include "control/cli/statistics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace membudget::cli {
namespace {

// How many orders of n and m values have each number of won pairs: the coefficients of the Gaussian binomial,
// the product over k = 1..n of (1 - x^(m+k)) / (1 - x^k).
std::vector<double> orders_by_pairs(size_t n, size_t m) {
  std::vector<double> orders(n * m + 1, 0.0);
  orders[0] = 1;
  for (size_t k = 1; k <= n; ++k) {
    for (size_t i = orders.size(); i-- > m + k;) orders[i] -= orders[i - m - k];
    for (size_t i = k; i < orders.size(); ++i) orders[i] += orders[i - k];
  }
  return orders;
}

}  // namespace

double quantile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  double place = share * static_cast<double>(values.size() - 1);
  auto below = static_cast<size_t>(place);
  size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (values[above] - values[below]) * (place - static_cast<double>(below));
}

double median(std::vector<double> values) { return quantile(std::move(values), 0.5); }

RankTest compare_samples(const std::vector<double> &first, const std::vector<double> &second) {
  RankTest test;
  for (double a : first)
    for (double b : second) test.pairs_won += a < b ? 1 : a == b ? 0.5 : 0;
  test.pairs = static_cast<double>(first.size() * second.size());
  if (test.pairs == 0) return test;
  std::vector<double> orders = orders_by_pairs(first.size(), second.size());
  auto least = static_cast<size_t>(std::floor(test.pairs_won));
  double all = std::accumulate(orders.begin(), orders.end(), 0.0);
  test.p = std::accumulate(orders.begin() + static_cast<std::ptrdiff_t>(least), orders.end(), 0.0) / all;
  return test;
}

}  // namespace membudget::cli
