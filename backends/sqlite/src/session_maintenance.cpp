// How a session makes room, after writes and when asked to, and measures what is there.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>

#include "polycache/author/text.h"
#include "session.h"
#include "session_operation.h"

namespace polycache::sqlite {
namespace {

// Entries written between two checks of a few rows for expired ones: seldom while there are few,
// and often enough to outpace writes while a quarter or more are.
constexpr std::size_t sweep_every = 256;
constexpr std::size_t sweep_soon = 8;

constexpr std::int64_t culled_rows = 256;  // in one transaction of cull()

// How long a write waits for readers that prevent the log from being emptied (a quarter of
// busy_timeout, if that is less). If they do not end, no write waits for five times as long.
constexpr std::chrono::milliseconds log_patience{200};

}  // namespace

// --- after a write ---

// Makes room after a completed write; its failure does not fail the write.
void Session::tidy(Table& table, std::size_t entries, const Moment& now) noexcept {
  try {
    const Inside inside(table.connection());
    if (alias_->table.cull_limit == 0) {
      // Only expire() and cull() remove expired entries and those beyond a limit.
    } else if (entries < until_sweep_) {
      until_sweep_ -= entries;
    } else if (entries > 0) {
      until_sweep_ = table.sweep(now) ? sweep_soon : sweep_every;
    }
    if (table.log_is_too_long()) bound_log(table);
  } catch (const std::exception&) {
    // The next write tries again; a lasting problem will fail an operation of its own.
  }
}

// Overlapping readers prevent SQLite from restarting its log, which then grows without limit. Other
// writers wait meanwhile, so this does not last long, nor is it repeated often if a reader does not
// end.
void Session::bound_log(Table& table) {
  using std::chrono::steady_clock;
  ProcessShare::LongLog& log = share_->long_log();
  const bool to_warn = !log.warned && table.log_is_endless();
  const bool may_wait = to_warn || steady_clock::now() >= log.wait_again;
  const auto patience = std::min(log_patience, alias_->table.busy_timeout / 4);
  if (table.empty_log(may_wait ? patience : patience.zero())) {
    log.wait_again = {};
    return;
  }
  if (!may_wait || !table.readers_took_too_long()) return;
  log.wait_again = steady_clock::now() + 5 * patience;
  if (!to_warn) return;
  log.warned = true;
  alias_->warn(Warning::Kind::degraded, {},
               "sqlite " + quote_path(alias_->shown) + ": its write-ahead log has grown to " +
                   std::to_string(table.log_bytes() >> 20) +
                   " MiB and cannot be emptied, since a process or thread has kept a read "
                   "transaction open for long; end it (in another program, or a decoder that "
                   "takes long), and the next write empties the log");
}

// --- when asked to ---

std::size_t Session::expire() {
  std::int64_t removed = 0;
  for (std::optional<std::int64_t> next = INT64_MIN; next;) {
    std::int64_t of_step = 0;
    next = write(0, [&](Table& table, const Moment& now) {
      of_step = 0;  // of a first try
      return table.expire(*next, now, of_step);
    });
    removed += of_step;
  }
  return static_cast<std::size_t>(removed);
}

std::size_t Session::cull() {
  const TableSettings& limits = alias_->table;
  if (limits.max_entries == 0 && limits.size_limit == 0) return 0;
  if (limits.policy == TableSettings::Policy::none) return expire();
  std::int64_t removed = 0;
  for (std::int64_t of_step = culled_rows; of_step == culled_rows; removed += of_step) {
    of_step = write(0, [](Table& table, const Moment& now) {
      return table.has_limits() ? table.cull(culled_rows, now) : 0;
    });
  }
  return static_cast<std::size_t>(removed);
}

std::uint64_t Session::volume() {
  const std::int64_t bytes = read([](Table& table, const Moment&, Turn&) { return table.bytes(); });
  std::error_code none;  // a file that is not there
  const bool in_file = alias_->place == Connection::Place::file;
  const std::uintmax_t log = in_file ? std::filesystem::file_size(alias_->shown + "-wal", none) : 0;
  return static_cast<std::uint64_t>(bytes) + (none ? 0 : log);
}

MaintenanceExtension::Counts Session::counts() {
  Table::Counts all;
  for (std::optional<std::int64_t> next = INT64_MIN; next;) {
    Table::Counts so_far;
    next = read([&](Table& table, const Moment& now, Turn&) {
      const Inside inside(table.connection());
      so_far = all;
      return table.count(*next, now, so_far);
    });
    all = so_far;
  }
  return {.total = static_cast<std::uint64_t>(all.all),
          .expired = static_cast<std::uint64_t>(all.expired),
          .unexpired = static_cast<std::uint64_t>(all.all - all.expired),
          .forever = static_cast<std::uint64_t>(all.forever)};
}

}  // namespace polycache::sqlite
