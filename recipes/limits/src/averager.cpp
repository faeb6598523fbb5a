#include "polycache/averager.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <system_error>
#include <utility>

#include "checks.h"

namespace polycache {
namespace {

struct Sum {
  std::int64_t count = 0;
  double sum = 0;

  double mean() const noexcept { return sum / static_cast<double>(count); }
};

// "3 4.5": the shortest text that is the same number again.
std::string format(const Sum& sum) {
  std::array<char, 64> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), sum.sum).ptr;
  return std::to_string(sum.count) + ' ' + std::string(digits.data(), end);
}

Sum parse(const std::string& key, std::string_view text) {
  Sum sum;
  const char* const end = text.data() + text.size();
  const auto [at, wrong_count] = std::from_chars(text.data(), end, sum.count);
  if (wrong_count == std::errc() && sum.count > 0 && at != end && *at == ' ') {
    const auto [rest, wrong_sum] = std::from_chars(at + 1, end, sum.sum);
    if (wrong_sum == std::errc() && rest == end && std::isfinite(sum.sum)) return sum;
  }
  throw limits::refused("Averager", key,
                        "the entry is something else; give the averager a key of its own");
}

std::optional<double> mean_of(const std::string& key, const std::optional<std::string>& text) {
  if (!text) return std::nullopt;
  return parse(key, *text).mean();
}

}  // namespace

Averager::Averager(KeyView key, AveragerOptions options)
    : Averager(CacheHandle(std::move(options.cache), options.registry), key, options.timeout) {}

Averager::Averager(Cache& cache, KeyView key, const AveragerOptions& options)
    : Averager(CacheHandle(cache), key, options.timeout) {}

Averager::Averager(CacheHandle cache, KeyView key, Timeout timeout)
    : cache_(std::move(cache)), key_(key.text()), timeout_(timeout) {
  limits::check_name("Averager", key_);
}

void Averager::add(double value) const {
  const auto refuse = [&](const char* problem) {
    throw limits::refused("Averager", key_, problem);
  };
  if (!std::isfinite(value)) refuse("a value is not finite; add finite numbers only");
  cache_.get().update<std::string>(
      key_,
      [&](const std::optional<std::string>& text) {
        Sum sum = text ? parse(key_, *text) : Sum();
        ++sum.count;
        sum.sum += value;
        if (!std::isfinite(sum.sum)) refuse("the sum would not be finite; pop() it more often");
        return format(sum);
      },
      timeout_);
}

std::optional<double> Averager::mean() const { return mean_of(key_, cache_.get().get(key_)); }

std::optional<double> Averager::pop() const { return mean_of(key_, cache_.get().pop(key_)); }

}  // namespace polycache
