// Without OpenSSL: a location that asks for TLS is refused before any of this is called.

#include <cerrno>
#include <stdexcept>

#include "polycache/net/tls.h"
#include "tls_stream.h"

namespace polycache::net {

bool has_tls() noexcept { return false; }

TlsCertificates::TlsCertificates(TlsOptions options, std::function<void(const Warning&)> report)
    : options_(std::move(options)), report_(std::move(report)) {}

TlsCertificates::Problem TlsCertificates::load() {
  return {"tls_ca_file", "this polycache was built without OpenSSL"};
}

TlsClient::TlsClient(std::shared_ptr<TlsCertificates> certificates, std::string_view host,
                     std::size_t largest_record)
    : certificates_(std::move(certificates)), largest_record_(largest_record), name_(host) {}

TlsClient::~TlsClient() = default;

std::unique_ptr<TlsStream> TlsClient::begin(int) {
  throw std::runtime_error("this polycache was built without OpenSSL");
}

struct TlsStream::Parts {};

TlsStream::TlsStream(int, TlsClient&) {}
TlsStream::~TlsStream() = default;

ssize_t TlsStream::shake_hands() noexcept {
  errno = EPROTO;
  return -1;
}
ssize_t TlsStream::read(std::span<char>) noexcept { return shake_hands(); }
ssize_t TlsStream::write(std::string_view) noexcept { return shake_hands(); }
bool TlsStream::is_quiet() noexcept { return false; }
short TlsStream::wants() const noexcept { return 0; }
std::optional<Failure> TlsStream::failure() { return std::nullopt; }

}  // namespace polycache::net
