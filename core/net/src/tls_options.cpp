#include <string>
#include <utility>

#include "polycache/net/tls.h"

namespace polycache::net {
namespace {

// The names of the options that were given, in the order of the documentation.
std::string given(const OptionReader& options, const TlsOptions& read) {
  if (!read.ca_file.empty()) return "tls_ca_file";
  if (!read.certificate_file.empty()) return "tls_cert_file";
  if (!read.key_file.empty()) return "tls_key_file";
  return options.has("tls_verify_name") ? "tls_verify_name" : "";
}

// Hides a path that came from a ${...}, and a key that was pasted in place of its file name.
bool may_be_secret(const OptionReader& options, const char* name, const std::string& file) {
  return options.is_hidden(name) || file.find('\n') != std::string::npos ||
         file.find("-----") != std::string::npos;
}

}  // namespace

std::shared_ptr<TlsCertificates> read_tls_options(const OptionReader& options, TlsUse use,
                                                  std::string_view form,
                                                  std::function<void(const Warning&)> report) {
  TlsOptions read{.ca_file = options.string("tls_ca_file", ""),
                  .certificate_file = options.string("tls_cert_file", ""),
                  .key_file = options.string("tls_key_file", ""),
                  .verify_name = options.boolean("tls_verify_name", true)};
  read.hides_files = may_be_secret(options, "tls_ca_file", read.ca_file) ||
                     may_be_secret(options, "tls_cert_file", read.certificate_file) ||
                     may_be_secret(options, "tls_key_file", read.key_file);
  const std::string scheme(form);
  if (read.certificate_file.empty() != read.key_file.empty()) {
    options.reject("tls_cert_file",
                   "tls_cert_file and tls_key_file are given together; name both, or none");
    return nullptr;
  }
  if (use == TlsUse::unknown) return nullptr;
  if (use == TlsUse::no) {
    const std::string option = given(options, read);
    if (option.empty()) return nullptr;
    options.reject(option,
                   "no location asks for TLS, so everything would travel in the clear; "
                   "write the location as " +
                       scheme + "host:port, or leave the tls_ options out");
    return nullptr;
  }
  if (!has_tls()) {
    options.reject_location(scheme +
                            " needs OpenSSL, and polycache was built without it; install "
                            "libssl-dev and build again, or use another location");
    return nullptr;
  }
  if (read.ca_file.empty()) {
    options.reject("tls_ca_file",
                   scheme +
                       " needs the authority that signs its servers' certificates; name its "
                       "file (that of the system: /etc/ssl/certs/ca-certificates.crt)");
    return nullptr;
  }
  auto certificates = std::make_shared<TlsCertificates>(std::move(read), std::move(report));
  const TlsCertificates::Problem problem = certificates->load();
  if (problem.option.empty()) return certificates;
  options.reject(problem.option, problem.what);
  return nullptr;
}

}  // namespace polycache::net
