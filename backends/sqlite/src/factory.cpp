#include "polycache/backends/sqlite.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <sstream>
#include <string>
#include <system_error>
#include <utility>

#include "location.h"
#include "patience.h"
#include "polycache/author/text.h"
#include "session.h"
#include "store_share.h"

namespace polycache::sqlite {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view memory_location = ":memory:";
// Stands for a refused location: no valid alias can share it.
constexpr std::string_view refused_location = ":memory:\n";
constexpr std::chrono::hours longest_wait(24);
constexpr std::int64_t largest_page_cache = std::int64_t{1} << 40;  // SQLite counts KiB in an int
constexpr std::int64_t largest_value_bytes = 1'000'000'000;         // SQLite's limit

std::unique_ptr<BackendFactory> create(const OptionReader& options, const BackendContext& context) {
  return std::make_unique<Factory>(options, context);
}

bool in_memory(std::string_view location) noexcept { return location.starts_with(memory_location); }

// Returns why a folder is unsuitable for a store's file, or an empty string.
std::string check_folder(const fs::path& folder) {
  std::error_code error;
  const fs::file_status status = fs::status(folder, error);
  if (status.type() == fs::file_type::not_found) {
    return "the folder " + quote_path(folder.string()) +
           " does not exist; create it, or name another one";
  }
  if (status.type() != fs::file_type::directory) {
    return quote_path(folder.string()) + " is not a usable folder" +
           (error ? " (" + error.message() + ")" : "");
  }
  return {};
}

// A file, and why it is unsuitable for a store, or nothing.
struct Place {
  fs::path file;
  std::string problem = {};
};

// Resolves symbolic links and "..", whether or not the file exists. SQLite follows links itself and
// keeps the log next to the file, not next to the link, so every check, lock, rename and open must
// use the same name.
Place follow_links(fs::path file) {
  constexpr int most_links = 40;  // like the kernel
  const std::string given = file.string();
  for (int links = 0; links < most_links; ++links) {
    const fs::path folder = file.parent_path();
    const std::string lead = links == 0 ? ""
                                        : quote_path(given) + " is a symbolic link to " +
                                              quote_path(file.string()) + ": ";
    if (std::string problem = check_folder(folder); !problem.empty()) return {file, lead + problem};
    std::error_code error;
    file = fs::canonical(folder, error) / file.filename();
    if (error) return {file, lead + quote_path(folder.string()) + ": " + error.message()};
    if (!fs::is_symlink(fs::symlink_status(file, error))) return {std::move(file)};
    const fs::path target = fs::read_symlink(file, error);
    if (error) return {file, quote_path(file.string()) + ": " + error.message()};
    file = file.parent_path() / target;
  }
  return {file, quote_path(given) + " is a symbolic link that leads to itself; name a file"};
}

// Finds the file of a location, and whether it can be a store. Changes nothing.
Place find_place(const std::string& location) {
  std::error_code error;
  const fs::path path = fs::absolute(location, error);
  if (error) return {path, error.message()};
  Place place = follow_links(path);
  if (!place.problem.empty()) return place;
  Patience patience{std::chrono::seconds(1)};
  FileCheck check = check_file(place.file.string(), patience);
  const fs::path folder = place.file.parent_path();
  if (check.state == FileState::refused) {
    place.problem = std::move(check.problem);
  } else if (check.state == FileState::absent && !fs::exists(place.file, error) &&
             ::faccessat(AT_FDCWD, folder.c_str(), W_OK | X_OK, AT_EACCESS) != 0) {
    place.problem = "the folder " + quote_path(folder.string()) + " is not writable (" +
                    std::generic_category().message(errno) +
                    "); make it writable, or name another one";
  }
  return place;
}

bool is_letter_or_digit(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// ":memory:" and a name that distinguishes stores.
bool is_memory(std::string_view location) noexcept {
  location.remove_prefix(memory_location.size());
  return std::all_of(location.begin(), location.end(), [](char c) {
    return is_letter_or_digit(c) || std::string_view("._-:/+").find(c) != std::string_view::npos;
  });
}

// Rejects what is not a path: a server ("127.0.0.1:11211", if only "backend" was changed), a URL or
// another program's connection string, which may contain a password. A file of such a name needs a
// leading "./"; but even then no assignment may follow a separator.
bool is_path(std::string_view location) {
  const auto npos = std::string_view::npos;
  if (location.find("://") != npos ||
      location.find_first_of(std::string_view("\0\n\r?", 4)) != npos) {
    return false;
  }
  for (std::size_t i = location.find('='); i != npos; i = location.find('=', i + 1)) {
    std::size_t name = i;
    while (name > 0 && (is_letter_or_digit(location[name - 1]) || location[name - 1] == '_'))
      --name;
    if (name > 0 && name < i && std::string_view(",;& \t").find(location[name - 1]) != npos) {
      return false;
    }
  }
  const bool is_rooted =
      location.starts_with('/') || location.starts_with("./") || location.starts_with("../");
  const std::size_t at = location.rfind('@');
  const bool has_user = at != npos && (location.starts_with("//") || location.find(':') < at);
  if (is_rooted) return !has_user;
  return std::all_of(location.begin(), location.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= 0x80 || is_letter_or_digit(c) ||
           std::string_view("._-/+~").find(c) != std::string_view::npos;
  });
}

// The location as used by sessions: an absolute path without links, so that it stays the same file
// when the program changes its working folder or a link changes; or ":memory:...".
std::string read_location(const OptionReader& options) {
  const std::vector<std::string>& given = options.location();
  if (given.size() != 1 || given.front().empty()) {
    options.reject_location("expected one file, or \":memory:\" for a store in memory");
    return std::string(refused_location);
  }
  const std::string& location = given.front();
  const bool memory = in_memory(location);
  if (memory ? !is_memory(location) : !is_path(location)) {
    options.reject_location(
        "expected the path of a file, not a URL or a server: \"/var/cache/my.db\", or "
        "\":memory:\" and a name; the value is not shown, since it may contain a password (a "
        "file's name with characters other than letters, digits and ._-+~ needs \"./\" before "
        "it)");
    return std::string(refused_location);
  }
  if (memory) return location;
  if (location.back() == '/') {
    options.reject_location(quote_path(location) + " is not the name of a file");
    return location;
  }
  const Place place = find_place(location);
  if (!place.problem.empty()) options.reject_location(place.problem);
  return place.file.string();
}

std::string read_table_name(const OptionReader& options) {
  std::string name = options.string("table", "cache");
  const std::string lower = fold_case(name);
  const bool printable = lower.find_first_of(std::string_view("\0\n\r", 3)) == std::string::npos;
  if (name.empty() || name.size() > 128 || !printable) {
    options.reject("table", "expected a name of 1 to 128 bytes on one line");
  } else if (lower.starts_with("sqlite_") || lower.starts_with("polycache_")) {
    options.reject("table", "names that begin with \"sqlite_\" or \"polycache_\" are reserved");
  }
  return name;
}

TableSettings read_table_settings(const OptionReader& options) {
  using std::chrono::milliseconds;
  TableSettings settings;
  settings.name = read_table_name(options);
  settings.synchronous = options.choice("synchronous", {"off", "normal", "full"}, "normal");
  settings.wal_autocheckpoint = options.integer("wal_autocheckpoint", 10'000, 1, 1'000'000);
  settings.page_cache = options.bytes("page_cache", std::int64_t{8} << 20, 64 * 1024);
  settings.max_entries = options.integer("max_entries", 0, 1);
  settings.size_limit = options.bytes("size_limit", 0, 4096);
  const std::string policy =
      options.choice("eviction_policy", {"least-recently-stored", "none"}, "least-recently-stored");
  settings.policy =
      policy == "none" ? TableSettings::Policy::none : TableSettings::Policy::least_recently_stored;
  settings.exact_order =
      options.choice("eviction_order", {"approximate", "exact"}, "approximate") == "exact";
  settings.cull_limit = options.integer("cull_limit", 10, 0);
  for (const char* const option : {"eviction_policy", "eviction_order"}) {
    if (options.has(option) && settings.max_entries == 0 && settings.size_limit == 0) {
      options.reject(option, "says what goes beyond a limit; set max_entries or size_limit");
    }
  }
  if (settings.exact_order && settings.policy == TableSettings::Policy::none) {
    options.reject("eviction_order", "the policy \"none\" has no order; remove one of the two");
  }
  settings.checksum = options.boolean("checksum", false);
  settings.busy_timeout = options.duration("busy_timeout", milliseconds(1000));
  if (settings.page_cache > largest_page_cache)
    options.reject("page_cache", "must be at most 1TiB");
  if (settings.busy_timeout > longest_wait) options.reject("busy_timeout", "must be at most 24h");
  return settings;
}

std::int64_t read_max_value_bytes(const OptionReader& options) {
  const std::int64_t most = options.bytes("max_value_bytes", 0, 1);
  if (most > largest_value_bytes) {
    options.reject("max_value_bytes", "must be at most 1GB, which is SQLite's own limit");
  }
  return most;
}

// Null without the option.
std::unique_ptr<NearTier> read_near_tier(const OptionReader& options, const std::string& location) {
  const std::int64_t bytes = options.bytes("near", 0, 64 * 1024);
  if (bytes == 0) return nullptr;
  const std::int64_t memory =
      std::int64_t{::sysconf(_SC_PHYS_PAGES)} * std::int64_t{::sysconf(_SC_PAGESIZE)};
  if (in_memory(location) && location != refused_location) {
    options.reject("near", "a store in memory is near; remove the option");
  } else if (memory > 0 && bytes > memory) {
    options.reject("near", "must be at most the memory of this machine, " +
                               std::to_string(memory >> 20U) + "MiB");
  }
  return std::make_unique<NearTier>(static_cast<std::size_t>(bytes));
}

// The name of a store among those of the process.
std::string id_of(const std::string& location, const BackendContext& context) {
  std::ostringstream id;
  id << location;
  // Two registries with different clocks do not share a store in memory.
  if (in_memory(location)) id << "@" << static_cast<const void*>(&context.clock);
  return id.str();
}

std::shared_ptr<StoreShare> share_of(const std::string& location, const BackendContext& context) {
  const auto make = [&]() -> std::shared_ptr<void> {
    return std::make_shared<StoreShare>(
        in_memory(location) ? StoreShare::Place::memory : StoreShare::Place::file, location);
  };
  return std::static_pointer_cast<StoreShare>(
      context.process_wide("sqlite/1:" + id_of(location, context), make));
}

// Two aliases of one process must spell a table the same way: otherwise they would share it
// unknowingly.
std::shared_ptr<const TableName> claim_table_name(const std::string& name,
                                                  const std::string& location,
                                                  const OptionReader& options,
                                                  const BackendContext& context) {
  const auto make = [&]() -> std::shared_ptr<void> {
    return std::make_shared<TableName>(TableName{name, std::string(context.alias)});
  };
  const std::string id = "sqlite/1 table:" + id_of(location, context) + "\n" + fold_case(name);
  auto claimed = std::static_pointer_cast<const TableName>(context.process_wide(id, make));
  if (claimed->spelling != name) {
    options.reject("table", "SQLite treats " + quote(name) + " as the table " +
                                quote(claimed->spelling) + " of the alias " +
                                quote(claimed->alias) +
                                " in the same file; spell it the same to share it, or name "
                                "another one");
  }
  return claimed;
}

// The aliases of one table share its entries, and so their limit.
void agree_on_limits(const std::string& location, const TableSettings& table,
                     const BackendContext& context) {
  std::string id = "sqlite/limits/1:" + location + "/" + table.name;
  if (in_memory(location)) id.append("@").append(std::to_string(context.clock.identity()));
  const auto limit = [](std::int64_t most) {
    return most == 0 ? std::string("without limit") : std::to_string(most);
  };
  const bool evicts = table.policy != TableSettings::Policy::none;
  const std::array shared{
      SharedOption{"max_entries", limit(table.max_entries)},
      SharedOption{"size_limit", limit(table.size_limit)},
      SharedOption{"eviction_policy", evicts ? "least-recently-stored" : "none"},
      SharedOption{"eviction_order", table.exact_order ? "exact" : "approximate"},
      SharedOption{"cull_limit", std::to_string(table.cull_limit)}};
  context.agree(id, "the table " + quote(table.name) + " of " + quote_path(location), shared);
}

// Where the collections of a store are. Unlike entries they cannot be made again, so a damaged file
// stays where it is. No store in memory that a configuration names has a blank in its name.
std::shared_ptr<const Alias> collections_of(const Alias& alias, const BackendContext& context) {
  const bool is_file = alias.place == Connection::Place::file;
  std::string location = alias.shown + (is_file ? "-collections" : " collections");
  // A place that cannot be used is an error of the first operation that needs it.
  if (is_file && !alias.shown.empty()) location = find_place(location).file.string();
  // Their items may take as much memory as the entries.
  auto near = alias.near ? std::make_unique<NearTier>(alias.near->bytes()) : nullptr;
  TableSettings table = alias.table;
  table.max_entries = 0;
  table.size_limit = 0;
  table.checksum = false;
  // NOLINTNEXTLINE(modernize-make-shared): make_shared takes no member names
  return std::shared_ptr<const Alias>(new Alias{.place = alias.place,
                                                .shown = location,
                                                .table = std::move(table),
                                                .move_damaged = false,
                                                .near = std::move(near),
                                                .clock = alias.clock,
                                                .report = alias.report,
                                                .share = share_of(location, context)});
}

}  // namespace

const PluginDescriptor plugin = backend_plugin("sqlite", POLYCACHE_VERSION, create);
const PluginDescriptor db_plugin = backend_plugin("db", POLYCACHE_VERSION, create);

class Factory::Impl final : private MaintenanceExtension,
                            private CheckExtension,
                            private VacuumExtension {
 public:
  Impl(KeyRules its_rules, std::shared_ptr<const Alias> its_alias) noexcept
      : rules(its_rules), alias(std::move(its_alias)) {}
  MaintenanceExtension& maintenance() noexcept { return *this; }
  CheckExtension& check() noexcept { return *this; }
  VacuumExtension& vacuum() noexcept { return *this; }

  const KeyRules rules;
  const std::shared_ptr<const Alias> alias;

 private:
  // Each call has a session of its own.
  std::size_t expire() override { return Session(alias).expire(); }
  std::size_t cull() override { return Session(alias).cull(); }
  std::optional<std::uint64_t> volume() override { return Session(alias).volume(); }
  Counts counts() override { return Session(alias).counts(); }
  void check(Fix fix, FunctionRef<void(const Problem&)> found) override {
    Session(alias).check(fix, found);
  }
  std::uint64_t vacuum(How how) override { return Session(alias).vacuum(how); }
};

Factory::Factory(const OptionReader& options, const BackendContext& context, KeyRules rules) {
  const std::string location = read_location(options);
  // NOLINTNEXTLINE(modernize-make-shared): make_shared takes no member names
  auto alias = std::shared_ptr<Alias>(
      new Alias{.place = in_memory(location) ? Connection::Place::memory : Connection::Place::file,
                .shown = location,
                .table = read_table_settings(options),
                .max_value_bytes = read_max_value_bytes(options),
                .move_damaged = options.choice("on_corrupt", {"move", "throw"}, "move") == "move",
                .near = read_near_tier(options, location),
                .clock = context.clock,
                .report = context.report,
                .share = share_of(location, context)});
  agree_on_limits(location, alias->table, context);
  alias->claim = claim_table_name(alias->table.name, location, options, context);
  alias->collections = collections_of(*alias, context);
  impl_ = std::make_unique<Impl>(rules, std::move(alias));
}

Factory::~Factory() = default;

std::unique_ptr<Backend> Factory::connect() { return std::make_unique<Session>(impl_->alias); }

void* Factory::extension(std::string_view id) noexcept {
  if (id == MaintenanceExtension::id) return &impl_->maintenance();
  if (id == CheckExtension::id) return &impl_->check();
  if (id == VacuumExtension::id) return &impl_->vacuum();
  return nullptr;
}

StoreTraits Factory::traits() const noexcept {
  return {.key_rules = impl_->rules,
          .is_private = impl_->alias->place == Connection::Place::memory,
          .reads_latest = true};
}

}  // namespace polycache::sqlite
