#include "control/cli/profile/pprof.h"

#include <fmt/format.h>
#include <zlib.h>

#include <cmath>
#include <map>

#include "control/cli/command.h"
#include "control/cli/text.h"
#include "profile.pb.h"

namespace membudget::cli::profile {
namespace {

namespace proto = perftools::profiles;

constexpr int kGzip = 15 + 16;  // zlib: the largest window, and gzip's header
constexpr const char *kMapped = "mapped";

// What pprof leaves out at the inner end: how memory is gotten is not who wants it.
constexpr const char *kDropFrames =
    "malloc|calloc|realloc|reallocarray|memalign|aligned_alloc|posix_memalign|valloc|pvalloc|mmap|mmap64|operator "
    "new.*|"
    "_?PyObject_(Malloc|Calloc|Realloc)|_?PyMem_(Malloc|Calloc|Realloc|Raw.*)|_PyObject_Arena.*";

std::string compressed(const std::string &bytes) {
  z_stream stream{};
  if (deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, kGzip, 8, Z_DEFAULT_STRATEGY) != Z_OK)
    throw Failure{kFailed, "cannot compress the profile"};
  std::string out(deflateBound(&stream, bytes.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef *>(const_cast<char *>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef *>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  int result = deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  if (result != Z_STREAM_END) throw Failure{kFailed, "cannot compress the profile"};
  return out;
}

// Empty where it is not compressed, damaged, or beyond what a profile may be.
std::string decompressed(const std::string &bytes) {
  constexpr size_t kMost = size_t{1} << 30;
  z_stream stream{};
  if (inflateInit2(&stream, kGzip) != Z_OK) return "";
  stream.next_in = reinterpret_cast<Bytef *>(const_cast<char *>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  std::string out;
  char part[1 << 16];
  int result = Z_OK;
  while (result == Z_OK && out.size() < kMost) {
    stream.next_out = reinterpret_cast<Bytef *>(part);
    stream.avail_out = sizeof part;
    result = inflate(&stream, Z_NO_FLUSH);
    out.append(part, sizeof part - stream.avail_out);
  }
  inflateEnd(&stream);
  return result == Z_STREAM_END ? out : "";
}

class Encoder {
 public:
  explicit Encoder(const Profile &profile) : from_(profile) { text(""); }

  std::string encode() {
    describe();
    for (const Mapping &m : from_.mappings) add(m);
    for (const Location &l : from_.locations) add(l);
    for (const Entry &e : from_.entries) add(e);
    return compressed(to_.SerializeAsString());
  }

 private:
  int64_t text(const std::string &value) {
    auto [found, is_new] = texts_.try_emplace(value, to_.string_table_size());
    if (is_new) to_.add_string_table(value);
    return found->second;
  }

  void describe() {
    const char *kTypes[][2] = {
        {"alloc_objects", "count"}, {"alloc_space", "bytes"}, {"inuse_objects", "count"}, {"inuse_space", "bytes"}};
    for (auto &[type, unit] : kTypes) set(to_.add_sample_type(), type, unit);
    set(to_.mutable_period_type(), "space", "bytes");
    to_.set_period(from_.mean_bytes);
    to_.set_time_nanos(static_cast<int64_t>(from_.time_ns));
    to_.set_default_sample_type(text("inuse_space"));
    to_.set_drop_frames(text(kDropFrames));
    Amounts live = from_.total(false);
    comment(from_.title);
    comment(fmt::format("exact_live_bytes={}", from_.exact.live_bytes));
    comment(fmt::format("exact_mapped_bytes={}", from_.exact.mapped_bytes));
    comment(fmt::format("live_bytes_before_profiling={}", from_.exact.live_before));
    comment(fmt::format("estimated_live_bytes={:.0f}", live.live_bytes));
    comment(fmt::format("standard_error_of_estimated_live_bytes={:.0f}", std::sqrt(live.live_variance)));
    if (from_.lost_blocks) comment(fmt::format("lost_blocks={}", from_.lost_blocks));
  }

  void comment(const std::string &line) { to_.add_comment(text(line)); }

  void set(proto::ValueType *to, const char *type, const char *unit) {
    to->set_type(text(type));
    to->set_unit(text(unit));
  }

  void add(const Mapping &m) {
    proto::Mapping *to = to_.add_mapping();
    to->set_id(static_cast<uint64_t>(to_.mapping_size()));
    to->set_memory_start(m.start);
    to->set_memory_limit(m.limit);
    to->set_file_offset(m.offset);
    to->set_filename(text(m.file));
    to->set_build_id(text(m.build_id));
    to->set_has_functions(true);  // or pprof would look them up again
    to->set_has_filenames(true);
    to->set_has_line_numbers(true);
    to->set_has_inline_frames(true);
  }

  void add(const Location &l) {
    proto::Location *to = to_.add_location();
    to->set_id(static_cast<uint64_t>(to_.location_size()));
    to->set_address(l.address);
    to->set_mapping_id(static_cast<uint64_t>(l.mapping + 1));
    if (l.lines.empty()) {
      Line unknown{name_of(from_, l), "", 0};
      return add(unknown, to);
    }
    for (const Line &line : l.lines) add(line, to);
  }

  void add(const Line &line, proto::Location *location) {
    proto::Line *to = location->add_line();
    to->set_function_id(function(line));
    to->set_line(line.line);
  }

  uint64_t function(const Line &line) {
    auto [found, is_new] = functions_.try_emplace({line.function, line.file}, functions_.size() + 1);
    if (is_new) {
      proto::Function *to = to_.add_function();
      to->set_id(found->second);
      to->set_name(text(line.function.empty() ? "?" : line.function));
      to->set_system_name(to->name());
      to->set_filename(text(line.file));
    }
    return found->second;
  }

  void add(const Entry &e) {
    proto::Sample *to = to_.add_sample();
    for (uint32_t l : e.stack) to->add_location_id(l + 1);
    const Amounts &a = e.amounts;
    for (double value : {a.allocated_blocks, a.allocated_bytes, a.live_blocks, a.live_bytes})
      to->add_value(std::llround(value));
    if (e.is_mapped) {
      proto::Label *label = to->add_label();
      label->set_key(text("memory"));
      label->set_str(text(kMapped));
    }
  }

  const Profile &from_;
  proto::Profile to_;
  std::map<std::string, int64_t> texts_;
  std::map<std::pair<std::string, std::string>, uint64_t> functions_;
};

// Of an estimate of `bytes` in `blocks` of one size, which is all that the format keeps: exact where they have one size.
double variance_of(double bytes, double blocks, double mean_bytes) {
  if (bytes <= 0 || blocks <= 0 || mean_bytes <= 0) return 0;
  double size = bytes / blocks, weight = -1 / std::expm1(-size / mean_bytes);
  return bytes * size * (weight - 1);
}

class Decoder {
 public:
  Decoder(const std::string &bytes, const std::string &path) : path_(path) {
    std::string plain = decompressed(bytes);
    if (plain.empty() || !from_.ParseFromString(plain) || from_.sample_type_size() != 4) fail();
  }

  Profile decode() {
    for (const auto &m : from_.mapping()) mappings_[m.id()] = add(m);
    for (const auto &f : from_.function()) functions_[f.id()] = &f;
    for (const auto &l : from_.location()) locations_[l.id()] = add(l);
    for (const auto &s : from_.sample()) add(s);
    read_comments();
    to_.mean_bytes = from_.period();
    return std::move(to_);
  }

 private:
  [[noreturn]] void fail() const {
    throw Failure{kFailed, fmt::format("{} is no profile that `membudget profile` wrote", printable(path_))};
  }

  const std::string &text(int64_t place) const {
    if (place < 0 || place >= from_.string_table_size()) fail();
    return from_.string_table(static_cast<int>(place));
  }

  int add(const proto::Mapping &m) {
    to_.mappings.push_back(
        {m.memory_start(), m.memory_limit(), m.file_offset(), text(m.filename()), text(m.build_id())});
    return static_cast<int>(to_.mappings.size()) - 1;
  }

  uint32_t add(const proto::Location &l) {
    Location to;
    to.address = l.address();
    to.is_interpreted = l.address() == 0;
    if (auto found = mappings_.find(l.mapping_id()); found != mappings_.end()) to.mapping = found->second;
    for (const auto &line : l.line()) {
      auto found = functions_.find(line.function_id());
      if (found == functions_.end()) fail();
      to.lines.push_back({text(found->second->name()), text(found->second->filename()), line.line()});
    }
    to_.locations.push_back(to);
    return static_cast<uint32_t>(to_.locations.size()) - 1;
  }

  void add(const proto::Sample &s) {
    if (s.value_size() != 4) fail();
    Entry to;
    for (uint64_t id : s.location_id()) {
      auto found = locations_.find(id);
      if (found == locations_.end()) fail();
      to.stack.push_back(found->second);
    }
    auto value = [&](int i) { return static_cast<double>(s.value(i)); };
    auto mean = static_cast<double>(from_.period());
    to.amounts = {value(3),
                  value(2),
                  value(1),
                  value(0),
                  variance_of(value(3), value(2), mean),
                  variance_of(value(1), value(0), mean)};
    for (const auto &label : s.label()) to.is_mapped |= text(label.str()) == kMapped;
    to_.entries.push_back(to);
  }

  void read_comments() {
    for (int64_t place : from_.comment()) {
      const std::string &line = text(place);
      auto number = [&](const char *key, int64_t *out) {
        if (line.starts_with(std::string(key) + "=")) *out = strtoll(line.c_str() + line.find('=') + 1, nullptr, 10);
      };
      number("exact_live_bytes", &to_.exact.live_bytes);
      number("exact_mapped_bytes", &to_.exact.mapped_bytes);
      number("live_bytes_before_profiling", &to_.exact.live_before);
    }
  }

  proto::Profile from_;
  Profile to_;
  std::string path_;
  std::map<uint64_t, int> mappings_;
  std::map<uint64_t, const proto::Function *> functions_;
  std::map<uint64_t, uint32_t> locations_;
};

}  // namespace

std::string to_pprof(const Profile &profile) { return Encoder(profile).encode(); }
Profile from_pprof(const std::string &bytes, const std::string &path) { return Decoder(bytes, path).decode(); }

}  // namespace membudget::cli::profile
