// What is the matter with a command: whether it can be preloaded, and where its memory comes from.
#include <fmt/format.h>
#include <stdlib.h>

#include <filesystem>
#include <regex>
#include <sstream>

#include "control/cli/command.h"
#include "control/cli/doctor.h"
#include "control/cli/elf_file.h"
#include "control/cli/own_malloc.h"
#include "control/cli/proc.h"
#include "control/cli/program.h"
#include "control/cli/text.h"

namespace membudget::cli {
namespace {

constexpr uintmax_t kMostScriptBytes = 4 << 20;

std::string base_name(const std::string &path) { return std::filesystem::path(path).filename(); }

// The words of a script's first line: interpreter and argument; empty for no script.
std::vector<std::string> interpreter_line(const std::string &path) {
  if (read_head(path).kind != FileHead::script) return {};
  std::string text = read_file(path);
  std::istringstream words(text.substr(2, text.find('\n') - 2));
  std::vector<std::string> found;
  for (std::string word; words >> word;) found.push_back(word);
  return found;
}

// The programs that run when the command does, as far as its files tell: it, its interpreter, what `env`
// finds.
std::vector<std::string> programs_of(const std::string &path, const Environment &environment) {
  std::vector<std::string> programs = {path};
  for (size_t depth = 0; depth < 5; ++depth) {
    std::vector<std::string> line = interpreter_line(programs.back());
    if (line.empty()) break;
    std::string next = line[0];
    try {
      if (base_name(next) == "env" && line.size() > 1) next = find_program(line[1], environment);
    } catch (const Failure &) { break; }
    programs.push_back(next);
  }
  return programs;
}

// Texts that the program interprets: the command itself, and its arguments that name files.
std::vector<std::string> scripts_of(const std::string &path, const std::vector<std::string> &command) {
  std::vector<std::string> texts;
  for (size_t i = 0; i < command.size(); ++i) {
    std::string file = i == 0 ? path : command[i];
    std::error_code error;
    bool is_code = i > 0 && command[i - 1] == "-c";
    if (is_code)
      texts.push_back(command[i]);
    else if (std::filesystem::is_regular_file(file, error) && read_head(file).kind != FileHead::elf &&
             std::filesystem::file_size(file, error) <= kMostScriptBytes)
      texts.push_back(read_file(file));
  }
  return texts;
}

void examine_elf(const std::string &program, Diagnosis *out) {
  OwnMalloc own = find_own_malloc(program);
  std::string what = own.defines_malloc ? "defines malloc itself" : "";
  if (!own.runtime.empty()) what = fmt::format("has {}, which takes its memory past malloc", own.runtime);
  if (!what.empty())
    out->findings.push_back({"own-malloc", fmt::format("'{}' {}: that memory is not counted", program, what),
                             "build it with the C library's malloc, or give its own allocator a limit and the "
                             "budget the rest; `membudget show` tells how much is not counted"});
  if (own.uses_deepbind)
    out->findings.push_back({"deepbind",
                             fmt::format("'{}' calls dlopen with RTLD_DEEPBIND: libraries that it loads so call "
                                         "glibc's malloc, not the counted one",
                                         program),
                             "have it load them without RTLD_DEEPBIND"});
}

void examine_script(const std::string &text, Diagnosis *out) {
  static const std::regex kImport(R"((^|\n|;)\s*(import|from)\s+(duckdb|pyarrow|polars|cupy)\b)");
  if (text.find("RTLD_DEEPBIND") != std::string::npos)
    out->findings.push_back({"deepbind",
                             "the script loads libraries with RTLD_DEEPBIND: they call glibc's malloc, not the "
                             "counted one",
                             "load them without RTLD_DEEPBIND"});
  if (std::smatch match; std::regex_search(text, match, kImport))
    out->findings.push_back({"own-malloc",
                             fmt::format("the script imports {}, which has an allocator of its own: its memory "
                                         "is not counted",
                                         match[3].str()),
                             "limit it by its own settings, and give the budget the rest"});
}

bool is_python(const std::string &program) { return base_name(program).starts_with("python"); }

// CPython takes objects of up to 512 bytes from arenas, which are counted whole.
void examine_python(const Environment &environment, Diagnosis *out) {
  std::string own = environment.get("PYTHONMALLOC").value_or("");
  std::string ours = environment.get("MEMBUDGET_PYTHONMALLOC").value_or("auto");
  std::string allocator = environment.get("MEMBUDGET_ALLOCATOR").value_or("");
  bool is_ptmalloc = allocator.empty() || allocator == "ptmalloc";
  bool is_counted_exactly =
      own.starts_with("malloc") || (own.empty() && ours == "malloc") || (own.empty() && ours != "keep" && !is_ptmalloc);
  if (is_counted_exactly) return;
  std::string why = !own.empty() ? fmt::format("PYTHONMALLOC={} leaves pymalloc on", own) : "pymalloc is left on";
  if (own.empty() && ours == "keep") {
    out->notes.push_back(why + ", as MEMBUDGET_PYTHONMALLOC=keep says: CPython's arenas are counted whole");
    return;
  }
  out->findings.push_back({"pymalloc",
                           why + ": CPython's small objects are counted by whole arenas of 1 MiB (256 KiB before "
                                 "3.10), which stay counted until all in them is freed",
                           "MEMBUDGET_ALLOCATOR=mimalloc, or MEMBUDGET_PYTHONMALLOC=malloc, counts each object; "
                           "MEMBUDGET_PYTHONMALLOC=keep says that arenas are fine"});
}

// Their heaps do not come through malloc.
void examine_runtime(const std::string &program, Diagnosis *out) {
  for (const char *known : {"java", "node", "nodejs", "dotnet", "luajit"})
    if (base_name(program) == known)
      out->notes.push_back(
          fmt::format("{}'s own heap does not come through malloc and is not counted: limit it by "
                      "the runtime's option, and give the budget the rest",
                      known));
}

}  // namespace

void examine_command(const std::vector<std::string> &command, const Environment &environment, Diagnosis *out) {
  std::string path = find_program(command[0], environment);
  try {
    check_program(path);
  } catch (const Unpreloadable &refusal) {
    out->findings.push_back({refusal.id, refusal.what, refusal.advice});
  } catch (const Failure &refusal) {
    out->findings.push_back({"cannot-run", refusal.message, "name a command that can be run"});
  }
  std::vector<std::string> programs = programs_of(path, environment);
  for (const std::string &program : programs)
    if (read_head(program).kind == FileHead::elf) examine_elf(program, out);
  for (const std::string &text : scripts_of(path, command)) examine_script(text, out);
  for (const std::string &program : programs) examine_runtime(program, out);
  for (const std::string &program : programs)
    if (is_python(program)) return examine_python(environment, out);
}

}  // namespace membudget::cli
