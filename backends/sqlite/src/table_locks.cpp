// The locks of a table (LockExtension): a row for each place that is taken, and one with an empty
// key, which has the last fence.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "sql_text.h"
#include "table.h"

namespace polycache::sqlite {
namespace {

// How many locks are taken between two sweeps for those that were never released.
constexpr std::int64_t sweep_every = 256;

}  // namespace

// No other table can have this name, which is reserved.
std::string Table::locks_table() const { return "polycache_locks_" + settings_.name; }

bool Table::has_locks() {
  if (release_lock_) return true;
  if (name_in_file("table", locks_table()).empty()) return false;
  const std::string locks = quote_identifier(locks_table());
  const std::string mine = " WHERE key = ?1 AND token = ?2";
  count_locks_.emplace(connection_, "SELECT count(*), min(ends), max(token = ?2) FROM " + locks +
                                        " WHERE key = ?1 AND ends > ?3");
  end_locks_.emplace(connection_, "DELETE FROM " + locks +
                                      " WHERE ends <= ?3 AND (key = ?1 OR ?4) AND key <> x''");
  next_fence_.emplace(connection_, "INSERT INTO " + locks +
                                       " VALUES(x'', x'', ?1, 0) ON CONFLICT(key, token) DO "
                                       "UPDATE SET fence = fence + 1 RETURNING fence");
  put_lock_.emplace(connection_, "REPLACE INTO " + locks + " VALUES(?1, ?2, ?3, ?4)");
  renew_lock_.emplace(connection_,
                      "UPDATE " + locks + " SET ends = ?4" + mine + " AND ends > ?3 RETURNING 1");
  release_lock_.emplace(connection_, "DELETE FROM " + locks + mine + " RETURNING ends > ?3");
  return true;
}

void Table::make_locks() {
  if (has_locks()) return;
  connection_.execute("CREATE TABLE IF NOT EXISTS " + quote_identifier(locks_table()) +
                      "(key BLOB, token BLOB, fence INTEGER, ends INTEGER, "
                      "PRIMARY KEY(key, token)) WITHOUT ROWID");
  has_locks();
}

// Sets `mine` if the token has a place; else returns how many others have one, as a refusal if
// these are all.
LockExtension::Taken Table::count_locks(const LockExtension::Claim& claim, const Moment& now,
                                        bool& mine) {
  const Resetting resetting(*count_locks_);
  count_locks_->bind(1, claim.key).bind(2, claim.token).bind(3, now.milliseconds);
  count_locks_->step();  // always a row
  mine = count_locks_->integer(2) != 0;
  const bool is_free = mine || count_locks_->integer(0) < std::int64_t{claim.permits};
  if (is_free) return {.taken = true};
  return {.wait = std::chrono::milliseconds(
              std::max<std::int64_t>(count_locks_->integer(1) - now.milliseconds, 1))};
}

std::optional<LockExtension::Taken> Table::refuse_lock(const LockExtension::Claim& claim,
                                                       const Moment& now) {
  bool mine = false;
  if (!has_locks()) return std::nullopt;
  const LockExtension::Taken taken = count_locks(claim, now, mine);
  return taken.taken ? std::nullopt : std::optional(taken);
}

LockExtension::Taken Table::take_lock(const LockExtension::Claim& claim,
                                      std::chrono::milliseconds lease, const Moment& now) {
  make_locks();
  bool mine = false;
  LockExtension::Taken taken = count_locks(claim, now, mine);
  if (!taken.taken) return taken;
  std::int64_t fence = 0;
  {
    const Resetting resetting(*next_fence_);
    next_fence_->bind(1, now.order).step();
    fence = next_fence_->integer(0);
  }
  end_locks_->bind(1, claim.key)
      .bind(3, now.milliseconds)
      .bind(4, std::int64_t{fence % sweep_every == 0 ? 1 : 0})
      .run();
  put_lock_->bind(1, claim.key)
      .bind(2, claim.token)
      .bind(3, fence)
      .bind(4, now.expires_after(Ttl(lease)))
      .run();
  taken.fence = static_cast<std::uint64_t>(fence);
  return taken;
}

bool Table::renew_lock(const LockExtension::Claim& claim, std::chrono::milliseconds lease,
                       const Moment& now) {
  if (!has_locks()) return false;
  const Resetting resetting(*renew_lock_);
  return renew_lock_->bind(1, claim.key)
      .bind(2, claim.token)
      .bind(3, now.milliseconds)
      .bind(4, now.expires_after(Ttl(lease)))
      .step();
}

bool Table::release_lock(const LockExtension::Claim& claim, const Moment& now) {
  if (!has_locks()) return false;
  const Resetting resetting(*release_lock_);
  release_lock_->bind(1, claim.key).bind(2, claim.token).bind(3, now.milliseconds);
  return release_lock_->step() && release_lock_->integer(0) != 0;
}

}  // namespace polycache::sqlite
