// A store of one's own: a folder with one file per entry, named by a hash of its key. Readers
// need no lock, since a file appears whole, by rename; writers take turns, in all processes.
#include <polycache/error.h>
#include <polycache/plugin.h>
#include <sys/file.h>
#include <unistd.h>
#include <filesystem>
#include <fstream>
#include <iomanip>

namespace {
namespace fs = std::filesystem;
using namespace polycache;
using namespace std::chrono;
using std::string_view;
struct Session final : Backend {
  Session(fs::path folder, const Clock& time) : dir(std::move(folder)), clock(time) {}
  bool get(string_view key, ValueSink sink) override {
    const auto value = read(key);
    if (value) sink(*value);
    return value.has_value();
  }
  bool put(string_view key, string_view value, Ttl ttl, PutMode mode) override {
    const auto turn = take_turn();
    if (mode != PutMode::always && bool(read(key)) == (mode == PutMode::if_absent)) return false;
    return write(key, value, ttl);
  }
  bool touch(string_view key, Ttl ttl) override {
    const auto turn = take_turn();
    const auto value = read(key);
    return value && write(key, *value, ttl);
  }
  bool erase(string_view key) override {
    const auto turn = take_turn();
    return read(key) && fs::remove(file(key));
  }
  void clear() override {
    const auto turn = take_turn();
    for (const auto& entry : fs::directory_iterator(dir)) fs::remove(entry);
  }
  std::shared_ptr<void> take_turn() const {  // it ends with what is returned
    const int lock = ::open(dir.c_str(), O_RDONLY | O_CLOEXEC);
    while (::flock(lock, LOCK_EX) != 0 && errno == EINTR) continue;
    return {nullptr, [lock](void*) { ::close(lock); }};
  }
  auto now() const { return clock.system_now().time_since_epoch(); }
  fs::path file(string_view key) { return dir / std::to_string(std::hash<string_view>()(key)); }
  std::optional<std::string> read(string_view key) {
    std::ifstream in(file(key), std::ios::binary);
    std::int64_t until = 0;
    std::string owner;
    if (!(in >> until >> std::quoted(owner)) || owner != key || until <= now() / 1ms) return {};
    return std::string(std::istreambuf_iterator<char>(in.ignore()), {});
  }
  bool write(string_view key, string_view value, Ttl ttl) {
    const auto until = ttl.is_forever() ? 1ms * INT64_MAX : ceil<milliseconds>(now()) + ttl.value();
    std::ofstream out(dir / "new", std::ios::binary);
    out << until.count() << ' ' << std::quoted(key) << ' ' << value << std::flush;
    if (!out) throw BackendError(BackendError::Kind::storage, dir, "cannot write (disk full?)");
    fs::rename(dir / "new", file(key));
    return true;
  }
  const fs::path dir;
  const Clock& clock;
};

struct Factory final : BackendFactory {
  Factory(const OptionReader& options, const BackendContext& context) : clock(context.clock) {
    if (options.location().size() != 1) options.reject_location("expected one folder");
    for (auto& at : options.location()) fs::create_directories(dir = fs::path(at) / "entries");
  }
  std::unique_ptr<Backend> connect() override { return std::make_unique<Session>(dir, clock); }
  const Clock& clock;
  fs::path dir;
};
const auto plugin = backend_plugin("folder", "1.0", [](auto& options, auto& context) {
  return std::unique_ptr<BackendFactory>(new Factory(options, context));
});
}  // namespace
POLYCACHE_PLUGIN(plugin);
