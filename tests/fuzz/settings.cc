// Sizes, names, paths and the environment, as anybody may write them. Input: texts with a zero byte between.
#include <stdlib.h>
#include <string.h>

#include <string>
#include <vector>

#include "control/block/amount.h"
#include "control/block/settings.h"

namespace {

void check_amount(const char *text) {
  membudget_amount amount{};
  if (!membudget::amount_parse(text, &amount)) return;
  int64_t bytes = membudget::amount_bytes(amount, INT64_C(1) << 40);
  if (bytes < 0 || bytes > INT64_C(1) << 62 || !amount.is_set) abort();
}

void check_name(const char *text) {
  char path[128];
  if (!membudget::block_path("/d", text, path, sizeof path)) return;
  if (strncmp(path, "/d/membudget-", 13) != 0 || strchr(path + 3, '/') || strlen(path) > 13 + MEMBUDGET_NAME_MAX)
    abort();
}

void check_errors(const membudget::Settings &s) {
  if (!memchr(s.errors, 0, sizeof s.errors)) abort();
  for (const char *c = s.errors; *c; ++c)
    if (*c != '\n' && (static_cast<unsigned char>(*c) < ' ' || *c == 127)) abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string all(reinterpret_cast<const char *>(data), size);
  std::vector<char *> environment;
  for (size_t at = 0; at < all.size(); at += strlen(&all[at]) + 1) environment.push_back(&all[at]);
  for (const char *text : environment) {
    check_amount(text);
    check_name(text);
  }
  environment.push_back(nullptr);
  membudget::Settings settings;
  membudget::settings_read(environment.data(), &settings);
  check_errors(settings);
  return 0;
}
