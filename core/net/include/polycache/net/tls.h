// TLS for clients, by OpenSSL, over our own sockets.
//
// Certificates come from PEM files. They are read and checked when a store is created, and again by
// the next connection after a file has changed. If a changed file is invalid, there is a warning
// and the previous certificates stay in use (a rotation replaces the files one by one). A server's
// certificate must be signed by an authority of `ca`, and match the name or the address in the
// location. Sessions are resumed per server while the files stay the same.
//
// Threads enter OpenSSL only briefly; a fork waits until none is inside.

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
  std::string certificate_file;  // the client's own; empty: none; so is key_file
  std::string key_file;
  bool verify_name = true;
  bool hides_files = false;  // a file name may be a secret by mistake: messages do not show them
};

// The content of the certificate files. Thread-safe.
class TlsCertificates {
 public:
  // What is wrong with a file, and the option that names it. Empty: nothing.
  struct Problem {
    std::string option;
    std::string what;  // names the file and the remedy
  };
  // `report` is called by any thread that connects.
  TlsCertificates(TlsOptions options, std::function<void(const Warning&)> report);
  TlsCertificates(const TlsCertificates&) = delete;
  TlsCertificates& operator=(const TlsCertificates&) = delete;

  // Reads the files for the first time. REQUIRES: called before everything else, and reports no
  // problem.
  Problem load();
  // The context for a connection that begins now.
  std::shared_ptr<ssl_ctx_st> current();
  bool verifies_name() const noexcept { return options_.verify_name; }

 private:
  struct Stamp {  // identifies an unchanged file
    std::array<long long, 7> numbers{};
    bool operator==(const Stamp&) const = default;
  };
  using Stamps = std::array<Stamp, 3>;
  Stamps look_at_files() const noexcept;
  std::string reload(const Stamps& stamps);

  const TlsOptions options_;
  const std::function<void(const Warning&)> report_;
  std::mutex mutex_;  // guards the next two
  Stamps stamps_{};   // of the last attempt
  std::shared_ptr<ssl_ctx_st> context_;
};

// Whether a location asks for TLS; unknown if one of them is wrong.
enum class TlsUse : unsigned char { no, yes, unknown };

// Reads the options tls_ca_file, tls_cert_file, tls_key_file and tls_verify_name, and checks the
// files. `form` is how a location asks for TLS ("rediss://"). Returns nothing if there are
// problems, which it reports to `options`, or if TLS is not used.
std::shared_ptr<TlsCertificates> read_tls_options(const OptionReader& options, TlsUse use,
                                                  std::string_view form,
                                                  std::function<void(const Warning&)> report);

// State shared by the connections to one server. Thread-safe; must outlive them.
class TlsClient {
 public:
  // `host` is a name or an address, as in the location. `largest_record` limits the records sent,
  // for servers with small buffers; at least 512.
  TlsClient(std::shared_ptr<TlsCertificates> certificates, std::string_view host,
            std::size_t largest_record = std::size_t{16} << 10U);
  TlsClient(const TlsClient&) = delete;
  TlsClient& operator=(const TlsClient&) = delete;
  ~TlsClient();

  // Begins TLS over a connected descriptor, which the caller keeps owning. Sends nothing yet.
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
  std::string name_;     // requested and verified; empty if the host is an address
  std::string address_;  // in network byte order
  std::string shown_;
  std::mutex mutex_;  // guards the next two
  Session session_;
  std::shared_ptr<ssl_ctx_st> session_context_;
};

}  // namespace polycache::net
