#include "plugins/abi_mark.h"

#include <optional>

#include "polycache/author/text.h"

namespace polycache {
namespace {

// The parts of "1_libstdcxx_1_asan".
struct AbiMark {
  std::string_view number;
  std::string_view library;
  std::string_view variant;  // _GLIBCXX_USE_CXX11_ABI, or libc++'s ABI version
  std::string_view sanitizer = {};
};

std::optional<AbiMark> parse_mark(std::string_view text) {
  AbiMark mark{};
  for (const std::string_view sanitizer : {"_asan", "_tsan"}) {
    if (!text.ends_with(sanitizer)) continue;
    mark.sanitizer = sanitizer;
    text.remove_suffix(sanitizer.size());
  }
  const std::size_t first = text.find('_');
  const std::size_t last = text.rfind('_');
  if (first == std::string_view::npos || first == last) return std::nullopt;
  mark.number = text.substr(0, first);
  mark.library = text.substr(first + 1, last - first - 1);
  mark.variant = text.substr(last + 1);
  return mark;
}

std::string library_text(const AbiMark& mark) {
  if (mark.library == "libstdcxx_debug") {
    return "libstdc++ in debug mode (_GLIBCXX_DEBUG), string ABI " + std::string(mark.variant);
  }
  if (mark.library == "libstdcxx") return "libstdc++, string ABI " + std::string(mark.variant);
  if (mark.library == "libcxx") return "libc++, ABI " + std::string(mark.variant);
  return std::string(mark.library) + ", ABI " + std::string(mark.variant);
}

std::string sanitizer_text(const AbiMark& mark) {
  if (mark.sanitizer == "_asan") return "AddressSanitizer";
  if (mark.sanitizer == "_tsan") return "ThreadSanitizer";
  return "no sanitizer";
}

}  // namespace

std::string differences(std::string_view theirs, std::string_view ours) {
  const auto mark = parse_mark(theirs);
  const auto own = parse_mark(ours);
  if (!mark || !own) {
    return "its ABI mark is " + quote(theirs) + ", this program's is " + quote(ours);
  }
  std::string text;
  const auto add = [&](const std::string& what, const std::string& here) {
    if (!text.empty()) text += "; also, ";
    text += "it was built " + what + ", this program " + here;
  };
  if (mark->number != own->number) {
    add("for plugin ABI " + std::string(mark->number), "for " + std::string(own->number));
  }
  if (library_text(*mark) != library_text(*own)) {
    add("with " + library_text(*mark), "with " + library_text(*own));
  }
  if (mark->sanitizer != own->sanitizer && !mark->sanitizer.empty()) {  // see check_mark()
    add("with " + sanitizer_text(*mark), "with " + sanitizer_text(*own));
  }
  return text;
}

}  // namespace polycache
