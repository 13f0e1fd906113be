// A C++ library as programs load and unload them: containers built by constructors, freed by destructors.
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

namespace {

struct Table {
  Table() {
    for (int i = 0; i < 200; i++) names[i] = std::string(static_cast<size_t>(i), 'x');
  }
  std::map<int, std::string> names;
};

Table table;
std::vector<char> *buffer = new std::vector<char>(10000, 'b');
thread_local std::string of_this_thread(500, 't');

__attribute__((destructor)) void drop_buffer() { delete buffer; }

}  // namespace

// A block that outlives the library.
extern "C" void *plugin_allocate(size_t size) { return std::malloc(size); }

// Takes a block that the program allocated.
extern "C" void plugin_free(void *block) { std::free(block); }

// What its constructors built, summed, so that it is looked at: 200 * 199 / 2 + 10000 + 500.
extern "C" size_t plugin_sum() {
  size_t sum = buffer->size() + of_this_thread.size();
  for (const auto &[number, name] : table.names) sum += name.size();
  return sum;
}
