#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <new>
#include <optional>
#include <utility>

#include "clean_errors.h"
#include "polycache/author/descriptor.h"
#include "polycache/author/text.h"
#include "polycache/net/tls.h"
#include "tls_gate.h"
#include "tls_stream.h"

namespace polycache::net {
namespace {

using Problem = TlsCertificates::Problem;
using Context = std::shared_ptr<SSL_CTX>;

constexpr std::size_t largest_file = std::size_t{16} << 20U;

template <auto release>
struct Free {
  template <class Object>
  void operator()(Object* object) const noexcept {
    release(object);
  }
};
using Bio = std::unique_ptr<BIO, Free<BIO_free>>;
using Certificate = std::unique_ptr<X509, Free<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;

// The file named by one option: its bytes, or why there are none.
struct PemFile {
  const char* option;
  const std::string& path;
  bool is_hidden;
  std::string bytes = {};

  Problem wrong(const std::string& what) const {
    return {option, (is_hidden ? std::string("the file (not shown)") : quote(path)) + " " + what};
  }
};

std::string openssl_reason() {
  const char* const text = ERR_reason_error_string(ERR_peek_error());
  return text == nullptr ? "unknown error" : text;
}

// Avoids OpenSSL's file functions, which may use a descriptor below 3.
std::optional<Problem> read(PemFile& file) {
  constexpr const char* remedy = "; name a PEM file that this process can read";
  const int descriptor =
      off_standard_streams(::open(file.path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  int error = descriptor < 0 ? errno : 0;
  std::array<char, 16384> buffer;
  while (error == 0 && file.bytes.size() <= largest_file) {
    const ssize_t got = ::read(descriptor, buffer.data(), buffer.size());
    if (got == 0) break;
    if (got > 0) file.bytes.append(buffer.data(), static_cast<std::size_t>(got));
    if (got < 0 && errno != EINTR) error = errno;
  }
  if (descriptor >= 0) ::close(descriptor);
  if (error == 0 && file.bytes.size() <= largest_file) return std::nullopt;
  const std::string why = error == 0 ? "it has more than 16 MiB" : std::strerror(error);
  return file.wrong("cannot be read (" + why + ")" + remedy);
}

// Otherwise OpenSSL would prompt on the terminal for the passphrase of a key.
int no_passphrase(char*, int, int, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

Bio reader_of(const PemFile& file) {
  Bio bio(BIO_new_mem_buf(file.bytes.data(), static_cast<int>(file.bytes.size())));
  if (!bio) throw std::bad_alloc();
  return bio;
}

bool has_expired(const X509* certificate) noexcept {
  return X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0;
}

// Trusts the authorities in `file`.
std::optional<Problem> trust(SSL_CTX* context, const PemFile& file) {
  const Bio bio = reader_of(file);
  bool any = false;
  bool any_valid = false;
  X509_STORE* const store = SSL_CTX_get_cert_store(context);
  while (const Certificate found{PEM_read_bio_X509_AUX(bio.get(), nullptr, nullptr, nullptr)}) {
    any = true;
    any_valid = any_valid || !has_expired(found.get());
    if (X509_STORE_add_cert(store, found.get()) != 1) {
      return file.wrong("holds a certificate that OpenSSL refuses (" + openssl_reason() +
                        "); name a PEM file of authorities");
    }
  }
  if (!any) {
    return file.wrong(
        "holds no certificate in PEM form; name the file of the authority that signs the "
        "servers' certificates");
  }
  if (any_valid) return std::nullopt;
  return file.wrong("holds expired certificates only; name the current one of the authority");
}

// Sets the client's own certificate, and the chain between it and an authority.
std::optional<Problem> present(SSL_CTX* context, const PemFile& file) {
  const Bio bio = reader_of(file);
  const Certificate own(PEM_read_bio_X509_AUX(bio.get(), nullptr, nullptr, nullptr));
  if (!own) {
    return file.wrong("holds no certificate in PEM form; name the client's own certificate");
  }
  if (has_expired(own.get())) {
    return file.wrong("holds a certificate that has expired; name a current one");
  }
  if (SSL_CTX_use_certificate(context, own.get()) != 1) {
    return file.wrong("holds a certificate that OpenSSL refuses (" + openssl_reason() +
                      "); name another one");
  }
  while (const Certificate next{PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)}) {
    SSL_CTX_add1_chain_cert(context, next.get());
  }
  return std::nullopt;
}

std::optional<Problem> use_key(SSL_CTX* context, const PemFile& file) {
  const Bio bio = reader_of(file);
  bool is_encrypted = false;
  const Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, &is_encrypted));
  if (is_encrypted) {
    return file.wrong(
        "is encrypted, and this process cannot ask for its passphrase; name a key "
        "without one, which only this user can read");
  }
  if (!key) return file.wrong("holds no private key in PEM form; name that of tls_cert_file");
  if (SSL_CTX_use_PrivateKey(context, key.get()) != 1 || SSL_CTX_check_private_key(context) != 1) {
    return file.wrong("does not belong to the certificate in tls_cert_file (" + openssl_reason() +
                      "); name the key that it was made with");
  }
  return std::nullopt;
}

// By default OpenSSL cleans up when the program ends, before objects of the program that still use
// it. Only the first user of OpenSSL can change that.
void initialise() noexcept {
  static const int done = OPENSSL_init_ssl(OPENSSL_INIT_NO_ATEXIT, nullptr);
  static_cast<void>(done);
}

Context make_context() {
  initialise();
  Context context(SSL_CTX_new(TLS_client_method()), Free<SSL_CTX_free>());
  if (!context) throw std::bad_alloc();
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_mode(context.get(),
                   SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_read_ahead(context.get(), 1);  // one system call for a small reply
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(context.get(), &TlsStream::keep_session);
  return context;
}

// Returns the content of the files; empty, with the problem, if one of them is wrong.
Context read_files(const TlsOptions& options, Problem& problem) {
  using Use = std::optional<Problem> (*)(SSL_CTX*, const PemFile&);
  std::array<std::pair<PemFile, Use>, 3> files{{
      {{"tls_ca_file", options.ca_file, options.hides_files}, trust},
      {{"tls_cert_file", options.certificate_file, options.hides_files}, present},
      {{"tls_key_file", options.key_file, options.hides_files}, use_key},
  }};
  std::optional<Problem> found;
  for (auto& [file, use] : files) {  // outside the gate, since a disk may be slow
    if (!found && !file.path.empty()) found = read(file);
  }
  const InsideTls inside;
  const CleanErrors clean;
  Context context = make_context();
  for (const auto& [file, use] : files) {
    if (!found && !file.path.empty()) found = use(context.get(), file);
    ERR_clear_error();  // the end of a PEM file is an error
  }
  if (!found) return context;
  problem = *std::move(found);
  return nullptr;
}

}  // namespace

bool has_tls() noexcept { return true; }

TlsCertificates::TlsCertificates(TlsOptions options, std::function<void(const Warning&)> report)
    : options_(std::move(options)), report_(std::move(report)) {}

TlsCertificates::Problem TlsCertificates::load() {
  Problem problem;
  stamps_ = look_at_files();  // first, so that a change during the read causes another read
  context_ = read_files(options_, problem);
  return problem;
}

TlsCertificates::Stamps TlsCertificates::look_at_files() const noexcept {
  Stamps stamps;
  const std::array files{&options_.ca_file, &options_.certificate_file, &options_.key_file};
  for (std::size_t i = 0; i < files.size(); ++i) {
    struct stat status {};
    if (files[i]->empty() || ::stat(files[i]->c_str(), &status) != 0) continue;
    stamps[i].numbers = {static_cast<long long>(status.st_dev),
                         static_cast<long long>(status.st_ino),
                         static_cast<long long>(status.st_size),
                         status.st_mtim.tv_sec,
                         status.st_mtim.tv_nsec,
                         status.st_ctim.tv_sec,
                         status.st_ctim.tv_nsec};
  }
  return stamps;
}

std::shared_ptr<ssl_ctx_st> TlsCertificates::current() {
  const Stamps stamps = look_at_files();
  {
    const InsideTls inside;
    const std::lock_guard lock(mutex_);
    if (stamps == stamps_) return context_;
    stamps_ = stamps;  // one thread reads them; the others continue with the old context
  }
  const std::string problem = reload(stamps);
  if (!problem.empty() && report_) report_({.message = problem});
  const InsideTls inside;
  const std::lock_guard lock(mutex_);
  return context_;
}

// Returns the problem as a sentence, or an empty string.
std::string TlsCertificates::reload(const Stamps& stamps) {
  Problem problem;
  Context fresh = read_files(options_, problem);
  if (!fresh) {
    return "The certificates have changed, and cannot be used: " + problem.option + " " +
           problem.what + ". Those that were read before stay in use.";
  }
  const InsideTls inside;
  const std::lock_guard lock(mutex_);
  // Otherwise another thread has seen a later change and reads it.
  if (stamps == stamps_) context_.swap(fresh);
  fresh.reset();  // while inside
  return {};
}

}  // namespace polycache::net
