#include "server_error.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <system_error>

#include "polycache/author/text.h"

namespace polycache::redis {
namespace {

using Kind = BackendError::Kind;

constexpr std::string_view unknown_command = "ERR unknown command";
constexpr std::string_view too_many_clients = "ERR max number of clients";

constexpr std::array<ErrorMeaning, 21> error_meanings{{
    {"NOAUTH", Kind::denied, "give user and password in the location or the options"},
    {"WRONGPASS", Kind::denied, "check user and password"},
    {"NOPERM", Kind::denied, "allow it in the server's access rules"},
    {unknown_command, Kind::denied, "it is too old, or the command was renamed"},
    {"OOM", Kind::overloaded, "give the server more memory or a maxmemory-policy that evicts"},
    {"LOADING", Kind::overloaded, "it is reading its data after a start; wait"},
    {"BUSY", Kind::overloaded, "a script keeps it busy"},
    {too_many_clients, Kind::overloaded, "raise its maxclients or lower max_connections"},
    {"NOREPLICAS", Kind::overloaded, "too few of its replicas are there"},
    {"READONLY", Kind::read_only, "the first location must accept writes"},
    {"MASTERDOWN", Kind::unreachable, "it is a replica that lost its master"},
    {"CLUSTERDOWN", Kind::overloaded, "its cluster is down"},
    {"TRYAGAIN", Kind::overloaded, "its cluster is moving keys"},
    {"MOVED", Kind::storage, "it belongs to a cluster; name a single server or a proxy"},
    {"ASK", Kind::storage, "it belongs to a cluster; name a single server or a proxy"},
    {"CROSSSLOT", Kind::storage, "it belongs to a cluster; name a single server or a proxy"},
    {"MISCONF", Kind::storage, "it cannot write to its disk"},
    {"EXECABORT", Kind::storage, "see the server's log"},
    {"ERR DB index", Kind::storage, "use a smaller database number"},
    {"ERR Protocol error", Kind::protocol, "this is a defect of polycache"},
    {"", Kind::storage, "see the server's log"},
}};

bool contains(std::string_view text, std::string_view part) noexcept {
  return text.find(part) != std::string_view::npos;
}

}  // namespace

const ErrorMeaning& meaning_of(std::string_view error) noexcept {
  return *std::find_if(error_meanings.begin(), error_meanings.end(),
                       [&](const ErrorMeaning& m) { return error.starts_with(m.begins); });
}

std::optional<Redirection> redirection_in(std::string_view error) noexcept {
  constexpr std::string_view word = "MOVED ";
  constexpr int slots = 16'384;
  if (!error.starts_with(word)) return std::nullopt;
  error.remove_prefix(word.size());
  Redirection found{};
  const auto [end, problem] =
      std::from_chars(error.data(), error.data() + error.size(), found.slot);
  found.address = error.substr(static_cast<std::size_t>(end - error.data()));
  const bool is_valid = problem == std::errc() && found.slot >= 0 && found.slot < slots &&
                        found.address.starts_with(' ') && found.address.size() > 1;
  if (!is_valid) return std::nullopt;
  found.address.remove_prefix(1);
  return found;
}

std::string shown_error(std::string_view error) {
  if (!error.starts_with("NOPERM")) return quote(error.substr(0, error.find(", with args")));
  const std::size_t what = error.find("no permissions");  // the user's name comes before it
  return what == std::string_view::npos ? quote("NOPERM")
                                        : quote("NOPERM " + std::string(error.substr(what)));
}

bool is_wrong_type(std::string_view error) noexcept { return contains(error, "WRONGTYPE "); }

bool is_out_of_memory(std::string_view error) noexcept { return error.starts_with("OOM "); }

bool is_denied_command(std::string_view error) noexcept {
  return error.starts_with(unknown_command) ||
         (error.starts_with("NOPERM") && contains(error, " to run "));
}

bool is_closed_door(std::string_view error) noexcept {
  return error.starts_with("LOADING") || error.starts_with(too_many_clients);
}

}  // namespace polycache::redis
