# title: gcc and clang: C++ of many templates, several at a time, with LTO, sanitizers of the undefined
# needs: g++ make
# packages: g++ make clang
# version: g++ --version
# processes: cc1plus lto1
# timeout: 600
cat > common.h <<'END'
#include <algorithm>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <numeric>
#include <regex>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>
template <int N> struct Fibonacci { static constexpr unsigned long value = Fibonacci<N - 1>::value + Fibonacci<N - 2>::value; };
template <> struct Fibonacci<0> { static constexpr unsigned long value = 0; };
template <> struct Fibonacci<1> { static constexpr unsigned long value = 1; };
long part1(); long part2();
END
for i in 1 2; do cat > "part$i.cc" <<END
#include "common.h"
long part$i() {
  std::unordered_map<std::string, std::variant<int, std::string, std::vector<double>>> map;
  for (int i = 0; i < 3000; i++) map[std::to_string(i * $i % 701)] = std::vector<double>(i % 50, 0.5);
  std::regex number("([0-9]+)-([a-z]*$i?)");
  std::function<long(long)> add = [&](long n) { return n + static_cast<long>(map.size()); };
  return add(std::regex_match("123-abc$i", number)) + static_cast<long>(Fibonacci<${i}0>::value);
}
END
done
printf '#include "common.h"\nint main() { std::cout << part1() << " " << part2() << "\\n"; }\n' > main.cc
printf 'all: job\njob: main.o part1.o part2.o\n\t$(CXX) $(FLAGS) -o $@ $^\n%%.o: %%.cc common.h\n\t$(CXX) $(FLAGS) -c -o $@ $<\nclean:\n\trm -f *.o job\n' > Makefile
build() { make -s -j2 CXX="$1" FLAGS="$2" && ./job && md5sum part*.o job; make -s clean; }
build g++ '-std=c++17 -O1'
printf 'int main() { return 0; }' > small.cc && g++ -flto -O2 -o small small.cc && ./small && echo lto
if command -v clang++ > /dev/null; then build clang++ '-std=c++17 -O0'; fi
printf '#include <climits>\nint main(int n, char **) { int k = INT_MAX; return k + n == 3; }' > ub.cc
g++ -fsanitize=undefined -o ub ub.cc 2> /dev/null && { ./ub 2>&1 | grep -c 'signed integer overflow'; }
g++ -std=c++17 -c -o bad.o - -x c++ <<< 'int main() { return "no"; }' 2> /dev/null || echo "an error is an error"
