// A custom store: a folder with one file per entry. A rename publishes each file as a whole, so
// only writers take a lock. Sessions share only the folder's name, so one class serves as both.
#include <polycache/author/counter.h>
#include <polycache/author/plugin.h>
#include <sys/file.h>
#include <unistd.h>
#include <filesystem>
#include <fstream>
#include <iomanip>

namespace {
using namespace polycache;
using std::string_view, std::chrono::milliseconds, std::filesystem::path;
struct Folder final : BackendFactory, Backend {
  Folder(path folder, const Clock& time) : dir(std::move(folder)), clock(time) {}
  std::unique_ptr<Backend> connect() override { return std::make_unique<Folder>(dir, clock); }
  bool get(string_view key, ValueSink sink) override { return read(key) && show(sink); }
  bool put(string_view key, string_view bytes, Ttl ttl, PutMode mode) override {
    const auto turn = take_turn();
    if (mode != PutMode::always && read(key) == (mode == PutMode::if_absent)) return false;
    return write(key, bytes, end_of(ttl));
  }
  bool touch(string_view key, Ttl ttl, ValueSink head) override {
    const auto turn = take_turn();
    return read(key) && write(key, value, end_of(ttl)) && show(head);
  }
  bool erase(string_view key) override {
    const auto turn = take_turn();
    return read(key) && remove(file(key));
  }
  void clear() override {
    const auto turn = take_turn();
    for (const auto& entry : std::filesystem::directory_iterator(dir)) remove(entry.path());
  }
  std::optional<std::int64_t> incr(string_view key, std::int64_t delta) override {
    const auto turn = take_turn();
    if (!read(key)) return {};
    const auto sum = add_to_counter(value, delta);
    write(key, std::to_string(sum), until);
    return sum;
  }
  std::shared_ptr<void> take_turn() const {  // lasts while the result exists
    const int lock = ::open(dir.c_str(), O_RDONLY | O_CLOEXEC);
    while (::flock(lock, LOCK_EX) != 0 && errno == EINTR) continue;
    return {nullptr, [lock](void*) { ::close(lock); }};
  }
  std::int64_t now() const { return clock.system_now().time_since_epoch() / milliseconds(1); }
  std::int64_t end_of(Ttl t) { return t.is_forever() ? INT64_MAX : now() + t.value().count(); }
  path file(string_view key) { return dir / std::to_string(std::hash<string_view>()(key)); }
  bool read(string_view key) {
    std::ifstream in(file(key), std::ios::binary);
    if (!(in >> until >> std::quoted(value)) || value != key || until < now()) return false;
    value.assign(std::istreambuf_iterator<char>(in.ignore()), {});
    return true;
  }
  bool show(ValueSink sink) { return sink(value), true; }
  bool write(string_view key, string_view bytes, std::int64_t last) {
    std::ofstream out(dir / "new", std::ios::binary);
    out << last << ' ' << std::quoted(key) << ' ' << bytes << std::flush;
    if (!out) throw BackendError(BackendError::Kind::storage, dir, "cannot write (disk full?)");
    rename(dir / "new", file(key));
    return true;
  }
  const path dir;
  const Clock& clock;
  std::int64_t until = 0;  // the last millisecond of the entry that read() found
  std::string value;       // its bytes
};
const auto plugin = backend_plugin("folder", "1.0", [](auto& options, auto& context) {
  path dir;
  if (options.location().size() != 1) options.reject_location("expected one folder");
  for (auto& place : options.location()) create_directories(dir = path(place) / "entries");
  return std::unique_ptr<BackendFactory>(new Folder(dir, context.clock));
});
}  // namespace
POLYCACHE_PLUGIN(plugin);
