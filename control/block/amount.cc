#include "control/block/amount.h"

namespace membudget {
namespace {

constexpr int64_t kMostBytes = INT64_C(1) << 62;
constexpr int64_t kMillion = 1'000'000;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// A decimal number as `whole` (which may be cut to more than kMostBytes) and `millionths`; digits past the sixth decimal
// place are dropped.
struct Number {
  int64_t whole = 0;
  int64_t millionths = 0;
  bool has_fraction = false;
};

const char *parse_number(const char *text, Number *out) {
  if (!is_digit(*text)) return nullptr;
  for (; is_digit(*text); ++text) {
    if (out->whole <= kMostBytes / 10)
      out->whole = out->whole * 10 + (*text - '0');
    else
      out->whole = kMostBytes + 1;
  }
  if (*text != '.') return text;
  if (!is_digit(*++text)) return nullptr;
  out->has_fraction = true;
  for (int64_t place = kMillion / 10; is_digit(*text); ++text, place /= 10) out->millionths += (*text - '0') * place;
  return text;
}

// The shift of a unit letter, or -1.
int unit_shift(char letter) {
  switch (letter) {
    case 'K':
    case 'k': return 10;
    case 'M':
    case 'm': return 20;
    case 'G':
    case 'g': return 30;
    case 'T':
    case 't': return 40;
    default: return -1;
  }
}

bool is_byte_suffix(const char *text, bool after_unit) {
  if (*text == '\0') return true;
  if (after_unit && *text == 'i') ++text;
  return (*text == 'B' || *text == 'b') && text[1] == '\0';
}

bool set_share(const Number &number, membudget_amount *out) {
  if (number.whole > 100) return false;
  int64_t millionths = number.whole * (kMillion / 100) + number.millionths / 100;
  if (millionths > kMillion) return false;
  *out = {millionths, MEMBUDGET_UNIT_MILLIONTHS, 1};
  return true;
}

enum class Parsed { good, bad, too_large };

Parsed parse(const char *text, membudget_amount *out) {
  Number number;
  const char *rest = text ? parse_number(text, &number) : nullptr;
  if (!rest) return Parsed::bad;
  if (*rest == '%') return rest[1] == '\0' && set_share(number, out) ? Parsed::good : Parsed::bad;
  int shift = unit_shift(*rest);
  if (!is_byte_suffix(shift < 0 ? rest : rest + 1, shift >= 0)) return Parsed::bad;
  if (shift < 0) shift = 0;
  if (shift == 0 && number.has_fraction) return Parsed::bad;
  if (number.whole > (kMostBytes >> shift)) return Parsed::too_large;
  int64_t bytes = (number.whole << shift) + ((number.millionths << shift) / kMillion);
  if (bytes > kMostBytes) return Parsed::too_large;
  *out = {bytes, MEMBUDGET_UNIT_BYTES, 1};
  return Parsed::good;
}

}  // namespace

bool amount_parse(const char *text, membudget_amount *out) { return parse(text, out) == Parsed::good; }

bool amount_is_too_large(const char *text) {
  membudget_amount ignored;
  return parse(text, &ignored) == Parsed::too_large;
}

int64_t amount_bytes(const membudget_amount &amount, int64_t whole_bytes) {
  if (!amount.is_set) return 0;
  if (amount.unit == MEMBUDGET_UNIT_BYTES) return amount.value;
  return static_cast<int64_t>(static_cast<__int128>(whole_bytes) * amount.value / kMillion);
}

}  // namespace membudget
