#include "support/certificates.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <stdexcept>
#include <utility>
#include <vector>

namespace polycache::testing {
namespace {

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

constexpr long day = 24L * 60 * 60;
constexpr int most_tries = 5;

void check(bool is_good) {
  if (!is_good) throw std::runtime_error("OpenSSL cannot make the certificates of the tests");
}

Key make_key() {
  Key key(EVP_EC_gen("P-256"), &EVP_PKEY_free);
  check(key != nullptr);
  return key;
}

File writer(const std::string& path) {
  File file(std::fopen(path.c_str(), "we"), &std::fclose);
  check(file != nullptr);
  return file;
}

void write_key(const std::string& path, EVP_PKEY* key, const std::string& passphrase = "") {
  const File file = writer(path);
  const auto* const secret = reinterpret_cast<const unsigned char*>(passphrase.data());
  check(PEM_write_PrivateKey(file.get(), key, passphrase.empty() ? nullptr : EVP_aes_128_cbc(),
                             secret, static_cast<int>(passphrase.size()), nullptr, nullptr) == 1);
}

struct Wish {
  std::string name;
  std::string alternatives = {};  // as OpenSSL writes them; empty: an authority
  bool is_expired = false;
};

void add_extension(X509* certificate, int kind, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str());
  check(extension != nullptr && X509_add_ext(certificate, extension, -1) == 1);
  X509_EXTENSION_free(extension);
}

// Without an issuer it signs itself.
Certificate make_certificate(const Wish& wish, EVP_PKEY* key, X509* issuer, EVP_PKEY* issuer_key) {
  static long serial = 1000;
  Certificate certificate(X509_new(), &X509_free);
  X509* const made = certificate.get();
  check(made != nullptr && X509_set_version(made, 2) == 1);
  ASN1_INTEGER_set(X509_get_serialNumber(made), ++serial);
  X509_gmtime_adj(X509_getm_notBefore(made), -10 * day);
  X509_gmtime_adj(X509_getm_notAfter(made), wish.is_expired ? -day : 2 * day);
  X509_set_pubkey(made, key);
  const auto* const name = reinterpret_cast<const unsigned char*>(wish.name.c_str());
  check(X509_NAME_add_entry_by_txt(X509_get_subject_name(made), "CN", MBSTRING_ASC, name, -1, -1,
                                   0) == 1);
  X509_set_issuer_name(made, X509_get_subject_name(issuer == nullptr ? made : issuer));
  if (wish.alternatives.empty()) {
    add_extension(made, NID_basic_constraints, "critical,CA:TRUE");
    add_extension(made, NID_key_usage, "critical,keyCertSign,cRLSign");
  } else {
    add_extension(made, NID_subject_alt_name, wish.alternatives);
  }
  check(X509_sign(made, issuer_key, EVP_sha256()) > 0);
  return certificate;
}

void write_certificate(const std::string& path, X509* certificate) {
  const File file = writer(path);
  check(PEM_write_X509(file.get(), certificate) == 1);
}

// The second port may be taken between asking for a free one and listening on it.
template <class Start>
std::unique_ptr<Server> start_with_port(std::uint16_t& port, Start start) {
  for (int i = 1;; ++i) {
    port = free_port();
    try {
      return start(std::to_string(port));
    } catch (const std::runtime_error&) {
      if (i == most_tries) throw;
    }
  }
}

}  // namespace

Certificates::Certificates() {
  const Key ca_key = make_key();
  const Key other_key = make_key();
  const Key server_key = make_key();
  const Key client_key = make_key();
  const Certificate ca = make_certificate({"ca"}, ca_key.get(), nullptr, ca_key.get());
  const Certificate other = make_certificate({"other"}, other_key.get(), nullptr, other_key.get());
  const auto sign = [&](const std::string& name, const Wish& wish, EVP_PKEY* key) {
    write_certificate(file(name), make_certificate(wish, key, ca.get(), ca_key.get()).get());
  };
  const std::string here = "DNS:localhost,IP:127.0.0.1,IP:::1";
  write_certificate(file("ca"), ca.get());
  write_certificate(file("other_ca"), other.get());
  write_certificate(file("expired_ca"), make_certificate({.name = "old", .is_expired = true},
                                                         ca_key.get(), nullptr, ca_key.get())
                                            .get());
  sign("server", {"server", here}, server_key.get());
  sign("other_host", {"127.0.0.1", "DNS:other.example,IP:127.0.0.9"}, server_key.get());
  sign("expired", {"server", here, true}, server_key.get());
  sign("client", {"client", "DNS:client"}, client_key.get());
  sign("expired_client", {"client", "DNS:client", true}, client_key.get());
  write_certificate(
      file("stranger"),
      make_certificate({"stranger", "DNS:stranger"}, client_key.get(), other.get(), other_key.get())
          .get());
  write_key(file("server_key"), server_key.get());
  write_key(file("client_key"), client_key.get());
  write_key(file("encrypted_key"), client_key.get(), "passphrase");
}

TlsServer TlsServer::redis(const Certificates& certificates, const std::string& certificate,
                           Clients clients) {
  TlsServer made;
  made.server_ = start_with_port(made.port_, [&](const std::string& port) {
    return Server::redis({"--tls-port", port, "--tls-cert-file",
                          certificate.empty() ? certificates.server() : certificate,
                          "--tls-key-file", certificates.server_key(), "--tls-ca-cert-file",
                          certificates.ca(), "--tls-auth-clients",
                          clients == Clients::any ? "no" : "yes"});
  });
  return made;
}

TlsServer TlsServer::memcached(const Certificates& certificates, const std::string& certificate,
                               Clients clients) {
  TlsServer made;
  made.server_ = start_with_port(made.port_, [&](const std::string& port) {
    const std::string verify = clients == Clients::any ? "0" : "2";
    return Server::memcached(
        {"-Z", "-l", "127.0.0.1:" + port, "-o",
         "ssl_chain_cert=" + (certificate.empty() ? certificates.server() : certificate) +
             ",ssl_key=" + certificates.server_key() + ",ssl_ca_cert=" + certificates.ca() +
             ",ssl_verify_mode=" + verify});
  });
  return made;
}

}  // namespace polycache::testing
