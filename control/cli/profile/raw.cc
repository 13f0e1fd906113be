#include "control/cli/profile/raw.h"

#include <fmt/format.h>
#include <string.h>

#include <membudget/profile.h>
#include <map>

#include "control/cli/command.h"
#include "control/cli/text.h"

namespace membudget::cli::profile {
namespace {

// The bytes of the file, taken from the front; never read past their end.
class Reader {
 public:
  Reader(std::string_view bytes, const std::string &path) : left_(bytes), path_(path) {}

  std::string_view take(size_t bytes) {
    if (bytes > left_.size()) fail();
    std::string_view taken = left_.substr(0, bytes);
    left_.remove_prefix(bytes);
    return taken;
  }

  template <typename T>
  T take_as() {
    T value;
    memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }

  bool is_empty() const { return left_.empty(); }
  size_t left() const { return left_.size(); }

  [[noreturn]] void fail() const {
    throw Failure{kFailed, fmt::format("{} is damaged, or not whole", printable(path_))};
  }

 private:
  std::string_view left_;
  std::string path_;
};

class RawProfile {
 public:
  RawProfile(const std::string &bytes, const std::string &path) : reader_(bytes, path) {}

  Profile read() {
    auto header = reader_.take_as<membudget_profile_header>();
    if (header.magic != MEMBUDGET_PROFILE_MAGIC || header.header_bytes != sizeof header) reader_.fail();
    read_header(header);
    while (!is_ended_) read_record();
    join();
    return std::move(profile_);
  }

 private:
  void read_header(const membudget_profile_header &h) {
    profile_.pid = h.pid;
    profile_.mean_bytes = h.mean_bytes;
    profile_.time_ns = h.time_ns;
    profile_.exact = {h.live_bytes, h.mapped_bytes, h.live_before};
    profile_.lost_blocks = h.lost_blocks;
    profile_.lost_stacks = h.lost_stacks;
    profile_.title = fmt::format("{}", h.pid);
  }

  void read_record() {
    auto record = reader_.take_as<membudget_profile_record>();
    std::string_view payload = reader_.take(record.bytes);
    reader_.take(-record.bytes % 8);
    switch (record.kind) {
      case MEMBUDGET_PROFILE_STACK: return read_stack(payload);
      case MEMBUDGET_PROFILE_BLOCKS: return read_blocks(payload);
      case MEMBUDGET_PROFILE_LOCATION: return read_location(payload);
      case MEMBUDGET_PROFILE_MAPS: profile_.maps += payload; return;
      case MEMBUDGET_PROFILE_COMMAND: profile_.title += " " + printable(payload); return;
      case MEMBUDGET_PROFILE_END: is_ended_ = true; return;
      default: return;  // of a later version
    }
  }

  void read_stack(std::string_view payload) {
    Reader reader(payload, "profile");
    auto about = reader.take_as<membudget_profile_stack>();
    Entry entry;
    for (uint32_t i = 0; i < about.frames; ++i) entry.stack.push_back(location_of(reader.take_as<uint64_t>()));
    entry.amounts.allocated_blocks = about.allocated_blocks;
    entry.amounts.allocated_bytes = about.allocated_bytes;
    entry.amounts.allocated_variance = about.allocated_variance;
    stacks_[about.id] = entry;
  }

  void read_blocks(std::string_view payload) {
    for (Reader reader(payload, "profile"); !reader.is_empty();) {
      auto block = reader.take_as<membudget_profile_block>();
      auto bytes = static_cast<double>(block.bytes);
      Amounts &sum = live_[{block.stack, (block.flags & MEMBUDGET_PROFILE_IS_MAPPED) != 0}];
      sum.live_blocks += block.weight;
      sum.live_bytes += bytes * block.weight;
      sum.live_variance += bytes * bytes * block.weight * (block.weight - 1);
    }
  }

  void read_location(std::string_view payload) {
    Reader reader(payload, "profile");
    auto about = reader.take_as<membudget_profile_location>();
    std::string file(reader.take(about.file_bytes)), function(reader.take(about.function_bytes));
    Location &l = profile_.locations[location_of(MEMBUDGET_PROFILE_IS_LOCATION | about.id)];
    l.lines = {{printable(function), printable(file), about.line}};
  }

  uint32_t location_of(uint64_t frame) {
    auto [found, is_new] = places_.try_emplace(frame, static_cast<uint32_t>(profile_.locations.size()));
    if (is_new) {
      Location l;
      l.is_interpreted = frame & MEMBUDGET_PROFILE_IS_LOCATION;
      if (!l.is_interpreted) l.address = frame;
      profile_.locations.push_back(l);
    }
    return found->second;
  }

  // What was allocated from a stack goes with what is live of it: mapped, where any of it is.
  void join() {
    for (auto &[key, amounts] : live_) {
      auto found = stacks_.find(key.first);
      if (found == stacks_.end()) reader_.fail();
      Entry entry = found->second;
      entry.is_mapped = key.second;
      if (is_joined_.insert({key.first, true}).second) amounts += entry.amounts;
      entry.amounts = amounts;
      profile_.entries.push_back(entry);
    }
    for (const auto &[id, entry] : stacks_)
      if (!is_joined_.contains(id) && entry.amounts.allocated_blocks > 0) profile_.entries.push_back(entry);
  }

  Reader reader_;
  Profile profile_;
  std::map<uint32_t, Entry> stacks_;
  std::map<std::pair<uint32_t, bool>, Amounts> live_;
  std::map<uint32_t, bool> is_joined_;
  std::map<uint64_t, uint32_t> places_;
  bool is_ended_ = false;
};

}  // namespace

bool is_raw(const std::string &bytes) {
  uint64_t magic = 0;
  if (bytes.size() >= sizeof magic) memcpy(&magic, bytes.data(), sizeof magic);
  return magic == MEMBUDGET_PROFILE_MAGIC;
}

Profile read_raw(const std::string &bytes, const std::string &path) { return RawProfile(bytes, path).read(); }

}  // namespace membudget::cli::profile
