#include "control/cli/options.h"

#include <fmt/format.h>
#include <stdlib.h>

#include <algorithm>

namespace membudget::cli {
namespace {

constexpr double kMostSeconds = 1e9;

class Help : public CLI::Formatter {
 public:
  explicit Help(std::string usage = "") : usage_(std::move(usage)) {}

  std::string make_usage(const CLI::App *app, std::string name) const override {
    return usage_.empty() ? CLI::Formatter::make_usage(app, std::move(name)) : usage_ + "\n";
  }

  // A flag that takes a size if it is given one is "--profile{512K}" to CLI11.
  std::string make_option_name(const CLI::Option *option, bool is_positional) const override {
    std::string name = CLI::Formatter::make_option_name(option, is_positional);
    size_t brace = name.find('{');
    return brace == std::string::npos ? name : name.substr(0, brace) + "[=SIZE]";
  }

  // Which option another needs is said in the words of its own help.
  std::string make_option_opts(const CLI::Option *option) const override {
    return option->get_needs().empty() ? CLI::Formatter::make_option_opts(option) : "";
  }

 private:
  std::string usage_;
};

}  // namespace

Options::Options(const std::string &name, const std::string &description, const std::string &footer_text)
    : CLI::App(description, name.empty() ? "membudget" : "membudget " + name) {
  footer(footer_text);
  set_help_flag("-h,--help", "Print this help");
  formatter(std::make_shared<Help>());
}

void Options::set_usage(const std::string &lines) { formatter(std::make_shared<Help>(lines)); }

void Options::add_directory() {
  add_option_function<std::string>(
      "--dir", [](const std::string &path) { setenv("MEMBUDGET_DIR", path.c_str(), 1); },
      "Where the shared blocks live (default: $MEMBUDGET_DIR, else /dev/shm)")
      ->type_name("DIR");
}

void Options::add_seconds(const std::string &name, double *seconds, double least, const std::string &help_text) {
  add_option(name, *seconds, help_text)
      ->check([=](const std::string &text) {
        double value = 0;
        bool is_good = CLI::detail::lexical_cast(text, value) && value >= least && value <= kMostSeconds;
        return is_good ? "" : fmt::format("{} is not a number of seconds from {} to {}", text, least, kMostSeconds);
      })
      ->type_name("SECONDS");
}

void Options::add_target(std::string *target) {
  add_option("TARGET", *target, "A pid or a group's name")->required()->type_name("");
}

Arguments Options::read_with_command(const Arguments &arguments) {
  prefix_command();
  auto dashes = std::find(arguments.begin(), arguments.end(), "--");
  read(Arguments(arguments.begin(), dashes));
  Arguments command = remaining();
  if (!command.empty() && command[0].starts_with("-"))
    throw Failure{kUsage, fmt::format("unknown option '{}'; see `{} --help`", command[0], get_name())};
  if (dashes != arguments.end()) command.insert(command.end(), dashes + !command.size(), arguments.end());
  return command;
}

void Options::read(const Arguments &arguments) {
  Arguments reversed(arguments.rbegin(), arguments.rend());
  try {
    CLI::App::parse(reversed);
  } catch (const CLI::CallForHelp &) {
    fmt::print("{}", help());
    throw Quit{kOk};
  } catch (const CLI::ParseError &error) {
    Arguments unknown = remaining();  // more telling than what is missing for it
    bool is_unknown = !get_prefix_command() && !unknown.empty() && unknown[0].starts_with("-");
    std::string what = is_unknown ? fmt::format("unknown option '{}'", unknown[0]) : error.what();
    std::replace(what.begin(), what.end(), '\n', ' ');
    throw Failure{kUsage, fmt::format("{}; see `{} --help`", what, get_name())};
  }
}

}  // namespace membudget::cli
