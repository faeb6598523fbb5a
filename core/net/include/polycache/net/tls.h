// TLS for clients, by OpenSSL, over a socket of our own.
//
// Certificates come from PEM files. They are read and judged when a store is made, and again
// by the next connection after a file has changed; files that have become wrong meanwhile cost
// a warning, and what was read before stays in use (a rotation replaces them one by one).
// A server's certificate must be signed by an authority of `ca`, and be for the name or the
// address that the location says. Sessions are resumed, for each server and as long as the
// files stay the same.
//
// Threads are inside OpenSSL for a moment only, and no fork happens meanwhile.

#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "polycache/author/option_reader.h"
#include "polycache/warning.h"

struct ssl_ctx_st;
struct ssl_session_st;

namespace polycache::net {

class TlsStream;

// Whether this was built with OpenSSL.
bool has_tls() noexcept;

struct TlsOptions {
  std::string ca_file;
  std::string certificate_file;  // the client's own; empty: none, like the next
  std::string key_file;
  bool verify_name = true;
  bool hides_files = false;  // one of them may be a secret by mistake: no message shows them
};

// What the files say. Thread-safe.
class TlsCertificates {
 public:
  // What is wrong with a file, and the option that names it. Empty: nothing.
  struct Problem {
    std::string option;
    std::string what;  // names the file, and what to do
  };
  // `report` is called by any thread that connects.
  TlsCertificates(TlsOptions options, std::function<void(const Warning&)> report);
  TlsCertificates(const TlsCertificates&) = delete;
  TlsCertificates& operator=(const TlsCertificates&) = delete;

  // Reads the files for the first time. REQUIRES: before everything else, and no problem.
  Problem load();
  // What a connection uses that begins now.
  std::shared_ptr<ssl_ctx_st> current();
  bool verifies_name() const noexcept { return options_.verify_name; }

 private:
  struct Stamp {  // of a file that has not changed
    std::array<long long, 7> numbers{};
    bool operator==(const Stamp&) const = default;
  };
  using Stamps = std::array<Stamp, 3>;
  Stamps look_at_files() const noexcept;
  std::string reload(const Stamps& stamps);

  const TlsOptions options_;
  const std::function<void(const Warning&)> report_;
  std::mutex mutex_;  // guards the next two
  Stamps stamps_{};   // of those that were tried last
  std::shared_ptr<ssl_ctx_st> context_;
};

// Whether a location asks for TLS; unknown if one of them is wrong.
enum class TlsUse : unsigned char { no, yes, unknown };

// Reads the options tls_ca_file, tls_cert_file, tls_key_file and tls_verify_name, and judges the
// files. `form` is how a location asks for TLS ("rediss://"). Reports problems to `options`; then,
// and if TLS is not used, there is nothing to return.
std::shared_ptr<TlsCertificates> read_tls_options(const OptionReader& options, TlsUse use,
                                                  std::string_view form,
                                                  std::function<void(const Warning&)> report);

// What the connections with one server have in common. Thread-safe; must outlive them.
class TlsClient {
 public:
  // `host` is a name or an address, as the location says it. `largest_record`: of what is sent,
  // for servers with small buffers; from 512 on.
  TlsClient(std::shared_ptr<TlsCertificates> certificates, std::string_view host,
            std::size_t largest_record = std::size_t{16} << 10U);
  TlsClient(const TlsClient&) = delete;
  TlsClient& operator=(const TlsClient&) = delete;
  ~TlsClient();

  // TLS over a connected descriptor, which stays the caller's. Sends nothing yet.
  std::unique_ptr<TlsStream> begin(int descriptor);

 private:
  friend class TlsStream;
  using Session = std::shared_ptr<ssl_session_st>;

  // The session to resume with these certificates, if there is one.
  Session session_for(const std::shared_ptr<ssl_ctx_st>& context);
  void keep_session(const std::shared_ptr<ssl_ctx_st>& context, Session session) noexcept;
  void forget_session() noexcept;

  const std::shared_ptr<TlsCertificates> certificates_;
  const std::size_t largest_record_;
  std::string name_;     // asked for and verified; empty if the host is an address
  std::string address_;  // in the bytes of the network
  std::string shown_;
  std::mutex mutex_;  // guards the next two
  Session session_;
  std::shared_ptr<ssl_ctx_st> session_context_;
};

}  // namespace polycache::net
