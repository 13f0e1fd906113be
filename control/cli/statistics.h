// Medians and how sure a difference between two samples is.
#pragma once

#include <vector>

namespace membudget::cli {

double median(std::vector<double> values);                  // 0 for none
double quantile(std::vector<double> values, double share);  // linear between neighbours; share from 0 to 1

struct RankTest {
  double pairs_won = 0;  // of all pairs of one value of each, those where the first is smaller; ties count half
  double pairs = 0;
  double p = 1;  // how likely so many are by chance, were there no difference (Mann-Whitney, one-sided, exact)
};
RankTest compare_samples(const std::vector<double> &first, const std::vector<double> &second);

}  // namespace membudget::cli
