// How a session looks for damage, and gives free space back.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "polycache/author/text.h"
#include "session.h"
#include "session_operation.h"

namespace polycache::sqlite {
namespace {

using Fix = CheckExtension::Fix;

constexpr std::int64_t structure_lines = 100;
constexpr std::int64_t freed_pages = 256;  // in one transaction

const char* text_of(Table::Wrong wrong) noexcept {
  switch (wrong) {
    case Table::Wrong::place:
      return "is not in the row of its key, so nothing finds it";
    case Table::Wrong::columns:
      return "has a column of a type that polycache does not write";
    case Table::Wrong::checksum:
      return "does not match its checksum, so reads treat it as absent";
    case Table::Wrong::tag_index:
      return "is missing in the index of tags";
  }
  return "";
}

}  // namespace

// Passes problems on, up to a limit.
class Session::Problems {
 public:
  explicit Problems(FoundProblem found) noexcept : found_(found) {}

  void add(const std::string& shown, const std::string& text, bool is_fixed) {
    add_whole("sqlite " + quote_path(shown) + ": " + text, is_fixed);
  }
  // With the file's name.
  void add_whole(const std::string& text, bool is_fixed) {
    if (count_ == most) return;
    if (++count_ < most) {
      found_({.text = text, .is_fixed = is_fixed});
    } else {
      found_({.text = "sqlite: there may be more problems than these", .is_fixed = false});
    }
  }
  bool none() const noexcept { return count_ == 0; }

 private:
  static constexpr int most = 1000;

  const FoundProblem found_;
  int count_ = 0;
};

void Session::check(Fix fix, FoundProblem found) {
  Problems problems(found);
  check(fix, problems);
}

// What was found so far is known even if the store fails then. Damage that stops a step is a
// problem of its own, and the file stays where it is.
void Session::check(Fix fix, Problems& problems) {
  is_checking_ = true;
  found_damage_ = false;
  try {
    if (check_structure(fix, problems)) {  // else its rows cannot be read reliably
      check_rows(fix, problems);
      check_tag_index(fix, problems);
      check_counts(fix, problems);
    }
  } catch (const BackendError& error) {
    if (!found_damage_ && problems.none()) throw;
    problems.add_whole(std::string(error.what()) + "; the check of this file ended there", false);
  }
  if (has_collections()) collections().check(fix, problems);
}

// Returns whether the structure is whole, or is by now.
bool Session::check_structure(Fix fix, Problems& problems) {
  const auto look = [&] {
    return read([](Table& table, const Moment&, Turn&) {
      const Inside inside(table.connection());
      return table.structure_problems(structure_lines);
    });
  };
  const auto has = [](const std::vector<std::string>& lines, const std::string& line) {
    return std::find(lines.begin(), lines.end(), line) != lines.end();
  };
  const std::vector<std::string> lines = look();
  if (lines.empty()) return true;
  std::vector<std::string> left = lines;
  // What an index lacks is in its table.
  const bool is_about_indexes = std::all_of(
      lines.begin(), lines.end(),
      [](const std::string& line) { return line.find(" index ") != std::string::npos; });
  if (fix == Fix::yes && is_about_indexes) {
    write(0, [](Table& table, const Moment&) { table.rebuild_indexes(); });
    left = look();
  }
  for (const std::string& line : lines) problems.add(alias_->shown, line, !has(left, line));
  for (const std::string& line : left) {
    if (!has(lines, line)) problems.add(alias_->shown, line, false);
  }
  if (left.size() >= static_cast<std::size_t>(structure_lines)) {
    problems.add(alias_->shown, "there may be more problems of its structure", false);
  }
  return left.empty();
}

void Session::check_rows(Fix fix, Problems& problems) {
  struct WrongRow {
    std::int64_t id;
    std::string key;
    Table::Wrong wrong;
  };
  std::vector<WrongRow> rows;
  const auto look = [&](Table& table, std::int64_t from) {
    rows.clear();  // of a first try
    return table.check(from, [&](std::int64_t id, std::string_view key, Table::Wrong wrong) {
      rows.push_back({id, std::string(key), wrong});
    });
  };
  for (std::optional<std::int64_t> next = INT64_MIN; next;) {
    const std::int64_t from = *next;
    next = read([&](Table& table, const Moment&, Turn&) {
      const Inside inside(table.connection());
      return look(table, from);
    });
    if (fix == Fix::yes && !rows.empty()) {
      // Again, since another writer may have been there.
      next = write(0, [&](Table& table, const Moment&) {
        Transaction transaction(table, Transaction::Kind::write);
        const auto after = look(table, from);
        for (const WrongRow& row : rows) table.fix(row.id, row.wrong);
        transaction.commit();
        return after;
      });
    }
    for (const WrongRow& row : rows) {
      problems.add(alias_->shown, "the entry " + quote(row.key) + ' ' + text_of(row.wrong),
                   fix == Fix::yes);
    }
  }
}

void Session::check_tag_index(Fix fix, Problems& problems) {
  std::int64_t orphans = 0;
  for (std::optional<std::int64_t> next = INT64_MIN; next;) {
    const std::int64_t from = *next;
    std::int64_t found = 0;
    next = read([&](Table& table, const Moment&, Turn&) {
      const Inside inside(table.connection());
      found = 0;  // of a first try
      return table.orphaned_tags(from, false, found);
    });
    if (found > 0 && fix == Fix::yes) {
      next = write(0, [&](Table& table, const Moment&) {
        found = 0;
        return table.orphaned_tags(from, true, found);
      });
    }
    orphans += found;
  }
  if (orphans == 0) return;
  problems.add(alias_->shown, "rows of no entry in the index of tags: " + std::to_string(orphans),
               fix == Fix::yes);
}

void Session::check_counts(Fix fix, Problems& problems) {
  const auto are_right = [](Table& table, bool corrects) {
    if (!table.has_limits()) return true;
    if (corrects) table.count_from_now_on();
    Transaction transaction(table, corrects ? Transaction::Kind::write : Transaction::Kind::read);
    Table::Usage counted;
    const bool right = table.has_right_counts(counted);
    if (corrects && !right) table.set_counts(counted);
    transaction.commit();
    return right;
  };
  const bool right = read([&](Table& table, const Moment&, Turn&) {
    const Inside inside(table.connection());
    return are_right(table, false);
  });
  if (right) return;
  if (fix == Fix::yes) write(0, [&](Table& table, const Moment&) { are_right(table, true); });
  problems.add(alias_->shown,
               "the counts of its entries and their bytes, by which it keeps its limits, are wrong",
               fix == Fix::yes);
}

bool Session::has_collections() const {
  if (alias_->collections == nullptr) return false;
  std::error_code none;
  return alias_->place == Connection::Place::memory ||
         std::filesystem::exists(alias_->collections->shown, none);
}

std::uint64_t Session::vacuum(VacuumExtension::How how) {
  std::int64_t freed = 0;
  if (how == VacuumExtension::How::full) {
    freed = write(0, [](Table& table, const Moment&) { return table.rewrite(); });
  } else {
    for (std::int64_t step = 1; step > 0; freed += step) {
      step = write(0, [](Table& table, const Moment&) { return table.free_pages(freed_pages); });
    }
  }
  // The file itself gets shorter when the log is copied back.
  if (freed > 0 && alias_->place == Connection::Place::file) {
    write(0, [&](Table& table, const Moment&) {
      if (!table.readers_block_writers()) table.empty_log(alias_->table.busy_timeout / 4);
    });
  }
  const std::uint64_t own = freed > 0 ? static_cast<std::uint64_t>(freed) : 0;
  return own + (has_collections() ? collections().vacuum(how) : 0);
}

}  // namespace polycache::sqlite
