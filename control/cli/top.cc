// membudget top: processes and groups, live, in the terminal.
#include <errno.h>
#include <fmt/format.h>
#include <langinfo.h>
#include <locale.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "control/cli/options.h"
#include "control/cli/report.h"
#include "control/cli/style.h"
#include "control/cli/text.h"
#include "control/cli/top_frame.h"

// Last: it defines macros of common names.
#define NCURSES_NOMACROS
#include <ncurses.h>

namespace membudget::cli {
namespace {

constexpr int kControlL = 12;

using Clock = std::chrono::steady_clock;

constexpr const char *kKeys =
    "Keys, as in htop:\n"
    "  up, down, PgUp, PgDn, Home, End   move\n"
    "  F6 < >                            sort by the next or previous: counted, share, live, rss, pid, name\n"
    "  M P N                             sort by RSS, by share of the limit, by pid\n"
    "  I                                 invert the order\n"
    "  F5 t                              groups above their processes, or processes alone\n"
    "  F4 \\ F3 /                         filter by name, command or pid; Esc clears it\n"
    "  Z                                 pause\n"
    "  Ctrl-L                            draw the screen anew\n"
    "  F1 h ?                            help\n"
    "  F10 q                             quit\n";

struct Request {
  double interval_s = 1;
  bool is_once = false, as_json = false;
  std::string order = "counted";
};

TopOrder parse_order(const std::string &text) {
  for (size_t i = 0; i < std::size(kTopOrders); ++i)
    if (text == kTopOrders[i]) return static_cast<TopOrder>(i);
  throw Failure{kUsage,
                fmt::format("--sort {}: no column; use counted, share, live, rss, pid or name", printable(text))};
}

Json frame_json(const TopModel &model, const TopView &view) {
  Json json = Json::array();
  for (const TopRow &row : model.rows(view.order, view.is_inverted, false, "")) {
    const Snapshot &s = row.counters;
    Json process{{"name", s.name}, {"pid", s.pid}, {"allocator", s.allocator}};
    put_level(&process, s.level);
    process["live_bytes"] = s.live_bytes;
    process["counted_bytes"] = s.counted_bytes;
    process["limit_bytes"] = s.limit_bytes;
    process["group_counted_bytes"] = s.group_counted_bytes;
    if (row.rss_bytes) process["rss_bytes"] = *row.rss_bytes;
    process["command"] = s.command;
    json.push_back(process);
  }
  return json;
}

int print_once(const Request &request) {
  TopModel model;
  model.look();
  TopView view;
  view.order = parse_order(request.order);
  view.height = 0;
  view.width = std::max<size_t>(terminal_width(), terminal_width() == 0 ? 1000 : 20);
  view.selected = SIZE_MAX;
  view.has_unicode = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
  if (request.as_json) return fmt::print("{}\n", json_text(frame_json(model, view))), kOk;
  for (const Line &line : top_frame(model, view)) {
    std::string text;
    for (const Segment &segment : line) text += segment.text;
    fmt::print("{}\n", text.erase(text.find_last_not_of(' ') + 1));
  }
  return kOk;
}

// The terminal in curses' hands; given back on the way out.
class Screen {
 public:
  Screen() {
    screen_ = newterm(nullptr, stdout, stdin);
    if (!screen_) {
      const char *terminal = getenv("TERM");
      throw Failure{kFailed, fmt::format("the terminal '{}' is not known here; use --once", terminal ? terminal : "")};
    }
    cbreak();
    noecho();
    keypad(stdscr, TRUE);
    set_escdelay(25);
    curs_set(0);
    if (getenv_or("NO_COLOR").empty() && has_colors() && start_color() == OK && use_default_colors() == OK) {
      init_pair(Segment::calm, COLOR_GREEN, -1);
      init_pair(Segment::low, COLOR_YELLOW, -1);
      init_pair(Segment::medium, COLOR_MAGENTA, -1);
      init_pair(Segment::critical, COLOR_RED, -1);
      has_colour_ = true;
    }
  }
  ~Screen() {
    endwin();
    delscreen(screen_);
  }
  Screen(const Screen &) = delete;
  Screen &operator=(const Screen &) = delete;

  // Curses sends what changed, so nothing flickers.
  void draw(const std::vector<Line> &lines) const {
    erase();
    for (size_t y = 0; y < lines.size(); ++y) {
      move(static_cast<int>(y), 0);
      for (const Segment &segment : lines[y]) {
        attrset(attributes(segment.style));
        addstr(segment.text.c_str());
      }
    }
    attrset(A_NORMAL);
    refresh();
  }

 private:
  static std::string getenv_or(const char *name) {
    const char *value = getenv(name);
    return value ? value : "";
  }

  chtype attributes(Segment::Style style) const {
    if (style == Segment::plain) return A_NORMAL;
    if (style == Segment::bold) return A_BOLD;
    if (style == Segment::selected) return A_REVERSE;
    chtype strength = style == Segment::critical ? A_BOLD : A_NORMAL;
    return has_colour_ ? strength | static_cast<chtype>(COLOR_PAIR(style)) : strength;
  }

  SCREEN *screen_ = nullptr;
  bool has_colour_ = false;
};

// What keys do to the view.
class Keyboard {
 public:
  explicit Keyboard(TopView *view) : view_(view) {}

  bool is_done() const { return is_done_; }
  bool shows_help() const { return shows_help_; }

  void press(int key, size_t rows) {
    if (shows_help_)
      shows_help_ = false;
    else if (is_typing_)
      type(key);
    else
      command(key, rows);
  }

 private:
  void sort_by(TopOrder order) { view_->order = order; }

  void turn_order(int by) {
    int count = static_cast<int>(std::size(kTopOrders));
    view_->order = static_cast<TopOrder>((static_cast<int>(view_->order) + by + count) % count);
  }

  void type(int key) {
    if (key == 27 || key == '\n' || key == KEY_ENTER) {
      if (key == 27) view_->filter.clear();
      is_typing_ = false;
    } else if ((key == KEY_BACKSPACE || key == 127 || key == 8) && !view_->filter.empty()) {
      view_->filter.pop_back();
    } else if (key >= 32 && key < 127) {
      view_->filter += static_cast<char>(key);
    }
    view_->prompt = is_typing_ ? "Filter: " + view_->filter : "";
  }

  void go(int64_t by, size_t rows) {
    auto last = static_cast<int64_t>(rows) - 1;
    int64_t selected = std::clamp<int64_t>(static_cast<int64_t>(view_->selected) + by, 0, std::max<int64_t>(last, 0));
    view_->selected = static_cast<size_t>(selected);
  }

  void command(int key, size_t rows) {
    auto page = static_cast<int64_t>(top_list_height(*view_));
    switch (key) {
      case 'q':
      case KEY_F(10): is_done_ = true; break;
      case 'h':
      case '?':
      case KEY_F(1): shows_help_ = true; break;
      case '/':
      case '\\':
      case KEY_F(3):
      case KEY_F(4):
        is_typing_ = true;
        view_->prompt = "Filter: " + view_->filter;
        break;
      case 27: view_->filter.clear(); break;
      case 't':
      case KEY_F(5): view_->with_groups = !view_->with_groups; break;
      case '>':
      case '.':
      case KEY_F(6): turn_order(+1); break;
      case '<':
      case ',': turn_order(-1); break;
      case 'M': sort_by(TopOrder::rss); break;
      case 'P': sort_by(TopOrder::share); break;
      case 'N': sort_by(TopOrder::pid); break;
      case 'I': view_->is_inverted = !view_->is_inverted; break;
      case 'Z': view_->is_paused = !view_->is_paused; break;
      case KEY_UP: go(-1, rows); break;
      case KEY_DOWN: go(+1, rows); break;
      case KEY_PPAGE: go(-page, rows); break;
      case KEY_NPAGE: go(+page, rows); break;
      case KEY_HOME: go(INT32_MIN, rows); break;
      case KEY_END: go(INT32_MAX, rows); break;
      default: break;
    }
  }

  TopView *view_;
  bool is_done_ = false, is_typing_ = false, shows_help_ = false;
};

std::vector<Line> help_frame() {
  std::vector<Line> lines;
  for (const std::string &line : lines_of(kKeys)) lines.push_back({{Segment::plain, line}});
  lines.push_back({{Segment::bold, "Any key goes back."}});
  return lines;
}

// Keeps the selected row, and the list's end, within the list's window.
void scroll(size_t rows, TopView *view) {
  size_t height = top_list_height(*view);
  view->selected = std::min(view->selected, rows == 0 ? 0 : rows - 1);
  view->first = std::min(view->first, rows > height ? rows - height : 0);
  if (view->selected < view->first) view->first = view->selected;
  if (view->selected >= view->first + height) view->first = view->selected - height + 1;
}

int run_live(const Request &request) {
  TopModel model;
  model.look();  // what is wrong is said before the screen is taken
  TopView view;
  view.order = parse_order(request.order);
  view.has_unicode = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
  Screen screen;
  Keyboard keyboard(&view);
  auto next = Clock::now();
  while (!keyboard.is_done()) {
    if (Clock::now() >= next) {
      if (!view.is_paused) model.look();
      next =
          Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(request.interval_s));
    }
    view.width = static_cast<size_t>(std::max(COLS, 1));
    view.height = static_cast<size_t>(std::max(LINES, 2));
    size_t rows = model.rows(view.order, view.is_inverted, view.with_groups, view.filter).size();
    scroll(rows, &view);
    screen.draw(keyboard.shows_help() ? help_frame() : top_frame(model, view));
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(next - Clock::now()).count();
    timeout(static_cast<int>(std::max<int64_t>(left, 0)) + 1);
    errno = 0;
    int key = getch();
    if (key == ERR && errno != 0 && errno != EINTR) return kOk;  // the terminal is gone
    if (key == kControlL)
      redrawwin(stdscr);
    else if (key != ERR && key != KEY_RESIZE)
      keyboard.press(key, rows);
  }
  return kOk;
}

}  // namespace

int top_command(const Arguments &arguments) {
  std::string footer =
      std::string(kKeys) + "\nWhere standard output is no terminal it prints one frame, as with --once.";
  Options app("top", "Show processes and groups, live, with bars against their limits.", footer);
  Request request;
  app.add_seconds("--interval", &request.interval_s, 0.1, "Time between two looks (default: 1)");
  app.add_option("--sort", request.order, "By counted, share, live, rss, pid or name (default: counted)")
      ->type_name("COLUMN");
  app.add_flag("--once", request.is_once, "Print one frame as plain text");
  app.add_flag("--json", request.as_json, "Print one frame as a JSON array of processes");
  app.add_directory();
  app.read(arguments);
  parse_order(request.order);
  setlocale(LC_CTYPE, "");
  bool is_live = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && !request.is_once && !request.as_json;
  return is_live ? run_live(request) : print_once(request);
}

}  // namespace membudget::cli
