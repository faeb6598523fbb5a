#include "tls_stream.h"

#include <netinet/in.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <new>
#include <string>
#include <utility>

#include "clean_errors.h"
#include "polycache/author/text.h"
#include "polycache/net/resolve.h"
#include "polycache/net/tls.h"
#include "tls_gate.h"

namespace polycache::net {
namespace {

using Kind = BackendError::Kind;

// The transport under OpenSSL.
struct Wire {
  int descriptor;
  int error = 0;       // of the last step
  bool ended = false;  // the server closed it
};

int read_wire(BIO* bio, char* to, int size) {
  auto& wire = *static_cast<Wire*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  for (;;) {
    const ssize_t got = ::recv(wire.descriptor, to, static_cast<std::size_t>(size), MSG_DONTWAIT);
    if (got > 0) return static_cast<int>(got);
    if (got < 0 && errno == EINTR) continue;
    if (got == 0) {
      wire.ended = true;
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      BIO_set_retry_read(bio);
    } else {
      wire.error = errno;
    }
    return static_cast<int>(got);
  }
}

int write_wire(BIO* bio, const char* from, int size) {
  auto& wire = *static_cast<Wire*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  for (;;) {
    // OpenSSL's own sockets would raise SIGPIPE.
    const ssize_t sent =
        ::send(wire.descriptor, from, static_cast<std::size_t>(size), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0) return static_cast<int>(sent);
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      BIO_set_retry_write(bio);
    } else {
      wire.error = errno;
    }
    return -1;
  }
}

long control_wire(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

BIO_METHOD* wire_method() {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* const made =
        BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "polycache socket");
    if (made == nullptr) throw std::bad_alloc();
    BIO_meth_set_read(made, read_wire);
    BIO_meth_set_write(made, write_wire);
    BIO_meth_set_ctrl(made, control_wire);
    return made;
  }();
  return method;
}

// Where the callbacks find a connection's parts.
int parts_index() {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

// Whether an alert concerns the client's identity or what it offers: retrying does not help then.
bool is_refusal(int alert) noexcept {
  switch (alert) {
    case SSL_AD_HANDSHAKE_FAILURE:
    case SSL_AD_NO_CERTIFICATE:
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_CERTIFICATE_REVOKED:
    case SSL_AD_CERTIFICATE_EXPIRED:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_UNKNOWN_CA:
    case SSL_AD_ACCESS_DENIED:
    case SSL_AD_DECRYPT_ERROR:
    case SSL_AD_PROTOCOL_VERSION:
    case SSL_AD_INSUFFICIENT_SECURITY:
    case SSL_AD_UNRECOGNIZED_NAME:
    case SSL_AD_CERTIFICATE_REQUIRED:
      return true;
    default:
      return false;
  }
}

std::string remedy_for(long verdict, const std::string& host) {
  switch (verdict) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return "it is not for " + quote(host) +
             "; write the location with a name that the certificate has, or set the option "
             "tls_verify_name to false";
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return "renew it on the server, or set the clock right";
    default:
      return "look at the option tls_ca_file: it must hold the authority that signed it";
  }
}

constexpr const char* look_at_own =
    "look at the options tls_cert_file and tls_key_file, and at what the server accepts";

}  // namespace

struct TlsStream::Parts {
  Parts(int descriptor, TlsClient& its_client) : wire{descriptor}, client(its_client) {}

  Wire wire;
  TlsClient& client;
  std::shared_ptr<SSL_CTX> context;
  std::unique_ptr<SSL, decltype(&SSL_free)> ssl{nullptr, &SSL_free};
  bool agreed = false;     // the handshake is complete, as far as this side knows
  bool heard = false;      // the server has answered something since
  bool was_asked = false;  // the server requested a certificate
  std::optional<Failure> failure;
};

TlsStream::TlsStream(int descriptor, TlsClient& client)
    : parts_(std::make_unique<Parts>(descriptor, client)) {
  parts_->context = client.certificates_->current();
  const InsideTls inside;
  const CleanErrors clean;
  parts_->ssl.reset(SSL_new(parts_->context.get()));
  SSL* const ssl = parts_->ssl.get();
  BIO* const bio = ssl == nullptr ? nullptr : BIO_new(wire_method());
  if (bio == nullptr) throw std::bad_alloc();
  BIO_set_data(bio, &parts_->wire);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl, bio, bio);
  SSL_set_ex_data(ssl, parts_index(), parts_.get());
  SSL_set_cert_cb(
      ssl,
      [](SSL*, void* parts) {
        static_cast<Parts*>(parts)->was_asked = true;
        return 1;
      },
      parts_.get());
  // SNI must not contain an address (RFC 6066).
  if (!client.name_.empty()) SSL_set_tlsext_host_name(ssl, const_cast<char*>(client.name_.c_str()));
  if (client.certificates_->verifies_name()) {
    X509_VERIFY_PARAM* const check = SSL_get0_param(ssl);
    X509_VERIFY_PARAM_set_hostflags(check, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    const auto* const address = reinterpret_cast<const unsigned char*>(client.address_.data());
    const int is_set = client.address_.empty()
                           ? SSL_set1_host(ssl, client.name_.c_str())
                           : X509_VERIFY_PARAM_set1_ip(check, address, client.address_.size());
    if (is_set != 1) throw std::bad_alloc();
  }
  if (const auto session = client.session_for(parts_->context)) {
    SSL_set_session(ssl, session.get());
  }
  SSL_set_max_send_fragment(ssl, static_cast<long>(client.largest_record_));
  SSL_set_connect_state(ssl);
}

int TlsStream::keep_session(SSL* ssl, SSL_SESSION* session) noexcept {
  auto& parts = *static_cast<Parts*>(SSL_get_ex_data(ssl, parts_index()));
  try {
    parts.client.keep_session(parts.context, {session, &SSL_SESSION_free});
  } catch (const std::bad_alloc&) {  // then the next handshake is a full one
  }
  return 1;  // takes ownership
}

// Sends no closing alert: the connection may be a forked parent's, and the server notices the end
// anyway. OpenSSL therefore keeps the session resumable.
TlsStream::~TlsStream() {
  const InsideTls inside;
  const CleanErrors clean;
  if (parts_->agreed) {
    SSL_set_shutdown(parts_->ssl.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  }
  parts_->ssl.reset();
  parts_->context.reset();
}

template <class Step>
ssize_t TlsStream::step(Step step) noexcept {
  const InsideTls inside;
  const CleanErrors clean;
  Wire& wire = parts_->wire;
  wire.error = 0;
  wire.ended = false;
  const int got = step(parts_->ssl.get());
  if (got > 0) return got;
  switch (SSL_get_error(parts_->ssl.get(), got)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      errno = EAGAIN;
      return -1;
    case SSL_ERROR_ZERO_RETURN:
      return 0;
    default:
      break;
  }
  if (wire.ended) return 0;
  if (wire.error == 0) note_failure();
  errno = wire.error == 0 ? EPROTO : wire.error;
  return -1;
}

ssize_t TlsStream::shake_hands() noexcept {
  const ssize_t done = step([](SSL* ssl) { return SSL_connect(ssl); });
  parts_->agreed = done > 0;
  const bool has_failed = done == 0 || (done < 0 && errno != EAGAIN);
  if (!has_failed) return done;
  const int error = errno;
  const InsideTls inside;
  parts_->client.forget_session();  // it may be the reason
  errno = error;
  return done;
}

ssize_t TlsStream::read(std::span<char> room) noexcept {
  const int most = static_cast<int>(std::min<std::size_t>(room.size(), 1U << 30U));
  const ssize_t got = step([&](SSL* ssl) { return SSL_read(ssl, room.data(), most); });
  parts_->heard = parts_->heard || got > 0;
  return got;
}

ssize_t TlsStream::write(std::string_view bytes) noexcept {
  const int most = static_cast<int>(std::min<std::size_t>(bytes.size(), 1U << 30U));
  const ssize_t sent = step([&](SSL* ssl) { return SSL_write(ssl, bytes.data(), most); });
  if (sent >= 0 || errno == EAGAIN) return sent;
  // The server may have sent a reason before it closed the connection.
  const int error = errno;
  char byte = 0;
  if (!parts_->failure) step([&](SSL* ssl) { return SSL_read(ssl, &byte, 1); });
  errno = error;
  return sent;
}

bool TlsStream::is_quiet() noexcept {
  char byte = 0;
  return step([&](SSL* ssl) { return SSL_peek(ssl, &byte, 1); }) < 0 && errno == EAGAIN;
}

short TlsStream::wants() const noexcept {
  return SSL_want_write(parts_->ssl.get()) ? POLLOUT : POLLIN;
}

void TlsStream::note_failure() noexcept {
  if (parts_->failure) return;  // the first failure has the reason
  try {
    parts_->failure = describe_failure();
  } catch (const std::bad_alloc&) {  // report it as a broken connection then
  }
}

Failure TlsStream::describe_failure() const {
  const auto tls = [](Kind kind, std::string reason) {
    return Failure{Failure::Step::tls, kind, std::move(reason)};
  };
  const long verdict = SSL_get_verify_result(parts_->ssl.get());
  if (!parts_->agreed && verdict != X509_V_OK) {
    return tls(Kind::denied, "the server's certificate is not accepted (" +
                                 std::string(X509_verify_cert_error_string(verdict)) + "); " +
                                 remedy_for(verdict, parts_->client.shown_));
  }
  const unsigned long code = ERR_peek_error();
  const char* const text = ERR_reason_error_string(code);
  const std::string reason = text == nullptr ? "unknown error" : text;
  const int number = ERR_GET_REASON(code);
  if (ERR_GET_LIB(code) == ERR_LIB_SSL && number > SSL_AD_REASON_OFFSET &&
      is_refusal(number - SSL_AD_REASON_OFFSET)) {
    return tls(Kind::denied, "the server refuses this client (" + reason + "); " + look_at_own);
  }
  if (parts_->agreed) return tls(Kind::protocol, "what it sends is damaged (" + reason + ")");
  return tls(Kind::protocol,
             "what answers does not shake hands by TLS (" + reason + "); look at the location");
}

std::optional<Failure> TlsStream::failure() {
  if (parts_->failure) return parts_->failure;
  // With TLS 1.3 a client considers itself connected before the server has checked its certificate.
  // The server's alert may be lost if it closes the connection at once.
  if (!parts_->agreed || parts_->heard || !parts_->was_asked) return std::nullopt;
  return Failure{Failure::Step::tls, Kind::denied,
                 std::string("the server asked for a certificate of this client and closed the "
                             "connection; ") +
                     look_at_own};
}

// --- TlsClient ---

TlsClient::TlsClient(std::shared_ptr<TlsCertificates> certificates, std::string_view host,
                     std::size_t largest_record)
    : certificates_(std::move(certificates)), largest_record_(largest_record), shown_(host) {
  const std::string text(host.substr(0, host.find('%')));  // without an interface's name
  if (const Addresses addresses = parse_address(text, "0")) {
    const sockaddr* const address = addresses->ai_addr;
    const void* bytes =
        address->sa_family == AF_INET
            ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in*>(address)->sin_addr)
            : &reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr;
    const std::size_t size = address->sa_family == AF_INET ? sizeof(in_addr) : sizeof(in6_addr);
    address_.assign(static_cast<const char*>(bytes), size);
  } else {
    name_ = host.ends_with('.') ? host.substr(0, host.size() - 1) : host;
  }
}

TlsClient::~TlsClient() {
  const InsideTls inside;
  session_.reset();
  session_context_.reset();
}

std::unique_ptr<TlsStream> TlsClient::begin(int descriptor) {
  return std::make_unique<TlsStream>(descriptor, *this);
}

// REQUIRES of all three: the caller is InsideTls.

// Not beyond the lifetime of the certificate that it was made with: a resumed session shows none.
TlsClient::Session TlsClient::session_for(const std::shared_ptr<ssl_ctx_st>& context) {
  const std::lock_guard lock(mutex_);
  if (!session_) return nullptr;
  const X509* const certificate = SSL_SESSION_get0_peer(session_.get());
  const bool is_good = session_context_ == context && certificate != nullptr &&
                       X509_cmp_current_time(X509_get0_notAfter(certificate)) > 0;
  if (!is_good) session_.reset();
  return session_;
}

void TlsClient::keep_session(const std::shared_ptr<ssl_ctx_st>& context, Session session) noexcept {
  const std::lock_guard lock(mutex_);
  session_ = std::move(session);
  session_context_ = context;
}

void TlsClient::forget_session() noexcept {
  const std::lock_guard lock(mutex_);
  session_.reset();
}

}  // namespace polycache::net
