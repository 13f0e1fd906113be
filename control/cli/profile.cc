// membudget profile: what holds the memory, by sampled stacks.
#include <errno.h>
#include <fmt/format.h>
#include <string.h>
#include <unistd.h>

#include <membudget/profile.h>
#include <filesystem>
#include <fstream>

#include "control/cli/options.h"
#include "control/cli/proc.h"
#include "control/cli/profile/flame.h"
#include "control/cli/profile/pprof.h"
#include "control/cli/profile/raw.h"
#include "control/cli/profile/sites.h"
#include "control/cli/profile/symbols.h"
#include "control/cli/target.h"
#include "control/cli/text.h"

namespace membudget::cli {
namespace {

using profile::Profile;

struct Request {
  std::string target, output, base;
  size_t top = 20;
  double timeout_s = 10;
  bool as_json = false, wants_table = false;
};

Request parse_request(const Arguments &arguments) {
  Request request;
  Options app("profile", "Tell what holds the memory of a process, or of all of a group, by sampled stacks.",
              "The process has to be profiled: start it with `membudget run --profile`, or turn it on later with\n"
              "`membudget set TARGET --profile 512K`. It writes the profile itself, in its next call of\n"
              "malloc or free (CPython's small objects make none, but with MEMBUDGET_PYTHONMALLOC=malloc).\n"
              "TARGET may also be a file that the library wrote (MEMBUDGET_PROFILE_DIR).\n"
              "Exit status: 0, 3 no such target or it ended, 4 it did not answer in time.\n\n"
              "  membudget profile my-service                    a table\n"
              "  membudget profile my-service -o memory.pb.gz    for pprof\n"
              "  membudget profile my-service -o memory.html     a flame graph\n"
              "  membudget profile my-service --base memory.pb.gz");
  app.add_target(&request.target);
  app.add_option("-o,--output", request.output, "A flame graph where FILE ends in .svg or .html, else pprof's format")
      ->type_name("FILE");
  auto *top = app.add_option("--top", request.top, "Print a table of so many places (default: 20)")->type_name("N");
  app.add_option("--base", request.base, "Tell the difference to this profile, one of ours")->type_name("FILE");
  app.add_seconds("--timeout", &request.timeout_s, 0, "How long to wait for the process (default: 10)");
  app.add_flag("--json", request.as_json, "Print the table as a JSON object");
  app.add_directory();
  app.read(arguments);
  request.wants_table = request.output.empty() || top->count() > 0 || request.as_json;
  return request;
}

// The file a profile is to be read from; a Failure where it cannot be.
std::string bytes_of(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (!file.good() && !file.eof())
    throw Failure{kFailed, fmt::format("cannot read {}: {}", printable(path), strerror(errno))};
  return bytes;
}

Profile read_any(const std::string &path) {
  std::string bytes = bytes_of(path);
  if (!profile::is_raw(bytes)) return profile::from_pprof(bytes, path);
  Profile read = profile::read_raw(bytes, path);
  profile::symbolize(&read);
  return read;
}

[[noreturn]] void fail_to_profile(int error, const std::string &target, double timeout_s) {
  if (error == -ETIMEDOUT) fail_unanswered(target, timeout_s);
  if (error == -ENODATA)
    throw Failure{kFailed,
                  fmt::format("'{0}' takes no stacks; start it with `membudget run --profile`, or turn that on "
                              "with `membudget set {0} --profile 512K`",
                              target)};
  if (error == -EBUSY) throw Failure{kFailed, fmt::format("'{}' is writing another profile; try again", target)};
  fail_for(error, target);
}

struct Collected {
  Profile profile;
  int processes = 0, error = 0;
};

// One process's answer: its profile is read and its file removed.
void collect(int pid, const char *path, int error, void *context) {
  auto &collected = *static_cast<Collected *>(context);
  if (error != 0) {
    collected.error = error;
    return;
  }
  std::string bytes = read_file(path);
  unlink(path);
  Profile one = profile::read_raw(bytes, path);
  one.pid = pid;
  profile::symbolize(&one);
  if (collected.processes++ == 0)
    collected.profile = one;
  else
    profile::add(&collected.profile, one);
}

Profile take_profile(const Request &request) {
  Budget budget = open_target(request.target);
  Collected collected;
  int error = membudget_profile_each(budget.get(), static_cast<int64_t>(request.timeout_s * 1000), collect, &collected);
  if (error == 0 && collected.processes == 0) error = collected.error;
  if (error != 0) fail_to_profile(error, request.target, request.timeout_s);
  if (collected.processes > 1)
    collected.profile.title = fmt::format("{}: {} processes", printable(request.target), collected.processes);
  return std::move(collected.profile);
}

void write_output(const std::string &path, const Profile &taken) {
  std::string text = path.ends_with(".svg")    ? profile::to_svg(taken)
                     : path.ends_with(".html") ? profile::to_html(taken)
                                               : profile::to_pprof(taken);
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (!file) throw Failure{kFailed, fmt::format("cannot write {}: {}", printable(path), strerror(errno))};
}

}  // namespace

int profile_command(const Arguments &arguments) {
  Request request = parse_request(arguments);
  Profile base;
  if (!request.base.empty()) base = read_any(request.base);
  bool is_file = request.target.ends_with(MEMBUDGET_PROFILE_SUFFIX) || request.target.find('/') != std::string::npos;
  Profile taken = is_file ? read_any(request.target) : take_profile(request);
  if (!request.base.empty()) profile::subtract(&taken, base);
  if (!request.output.empty()) write_output(request.output, taken);
  if (request.as_json)
    fmt::print("{}", profile::to_json(taken, request.top));
  else if (request.wants_table)
    fmt::print("{}", profile::to_table(taken, request.top));
  return kOk;
}

}  // namespace membudget::cli
