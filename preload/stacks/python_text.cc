#include "preload/stacks/python_text.h"

#include <stdint.h>

namespace membudget::stacks {
namespace {

uint32_t character(const char *data, int kind, int64_t i) {
  if (kind == 1) return reinterpret_cast<const uint8_t *>(data)[i];
  if (kind == 2) return reinterpret_cast<const uint16_t *>(data)[i];
  return reinterpret_cast<const uint32_t *>(data)[i];
}

char *encode(uint32_t c, char *out) {
  if (c < 0x80) {
    *out++ = static_cast<char>(c);
    return out;
  }
  int rest = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
  constexpr uint8_t kFirst[] = {0, 0xc0, 0xe0, 0xf0};
  *out++ = static_cast<char>(kFirst[rest] | c >> (6 * rest));
  while (rest-- > 0) *out++ = static_cast<char>(0x80 | (c >> (6 * rest) & 63));
  return out;
}

}  // namespace

Text python_text(const PythonLayout &layout, const char *object, char *buffer) {
  constexpr Text kUnknown = {"?", 1};
  if (!object) return kUnknown;
  auto length = *reinterpret_cast<const int64_t *>(object + 16);
  auto state = *reinterpret_cast<const uint32_t *>(object + 32);  // interned : 2, kind : 3, compact : 1, ascii : 1
  int kind = state >> 2 & 7;
  bool is_compact = state & 1u << 5, is_ascii = state & 1u << 6;
  if (!is_compact || length < 0) return kUnknown;
  if (is_ascii)
    return {object + layout.ascii_text, static_cast<uint32_t>(length < kMostTextBytes ? length : kMostTextBytes)};
  const char *data =
      object + layout.utf8 + 8 + (layout.ascii_text == 48 ? 8 : 0);  // up to 3.11 wstr_length lies between
  char *end = buffer;
  for (int64_t i = 0; i < length && end - buffer < kMostTextBytes - 4; ++i) end = encode(character(data, kind, i), end);
  return {buffer, static_cast<uint32_t>(end - buffer)};
}

}  // namespace membudget::stacks
