#include "polycache/function.h"

#include <cxxabi.h>

#include <exception>
#include <map>
#include <mutex>
#include <vector>

#include "convert.h"
#include "library.h"
#include "polycache/author/text.h"
#include "polycache/detail/fork_mutex.h"
#include "polycache/registry.h"

namespace polycache {
namespace {

using detail::functions::Conversion;
using detail::functions::FunctionEntry;

using Functions = std::map<std::string, Function, std::less<>>;

// Never destroyed: threads may call functions while the process ends. Guarded by fork_mutex(), as
// making it is.
Functions& registered() {
  static constinit Functions* functions = nullptr;
  if (functions == nullptr) functions = new Functions;
  return *functions;
}

}  // namespace

std::string Function::shown_name() const {
  const std::string shown = name_.empty() ? "a function" : "the function " + quote_path(name_);
  return owner_.empty() ? shown : owner_ + ": " + shown;
}

void Function::refuse(std::string_view types, std::string_view result,
                      const std::string& why) const {
  std::string text = shown_name();
  text.append(" is ").append(parameters()).append(" -> ").append(this->result());
  text.append(", and is called as ").append(types);
  if (!result.empty()) text.append(" -> ").append(result);
  throw ConfigError(text + why);
}

void Function::refuse_bytes() const {
  throw ConfigError(shown_name() + " has given bytes that are no " + std::string(result()) +
                    "; a codec of the caller differs from that of the function");
}

void Function::refuse_null() {
  throw ConfigError("a function is null, so that nothing can be called; give one that is not");
}

std::string Function::convert(std::span<const detail::functions::Argument> arguments,
                              std::string_view types, std::string_view result) const {
  std::string bytes;
  detail::binary::Writer out(bytes);
  std::string_view rest = parameters().substr(1);
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string_view parameter = detail::functions::take_type(rest);
    const std::string_view type = arguments[i].type;
    if (parameter.empty()) refuse(types, result, ": it takes fewer arguments");
    const std::string which = "argument " + std::to_string(i + 1);
    switch (detail::functions::convert(type, arguments[i].bytes, parameter, out)) {
      case Conversion::done:
        break;
      case Conversion::other_types:
        refuse(types, result, ": " + which + " does not become a " + std::string(parameter));
      case Conversion::narrows:
        throw ValueError(shown_name() + ": " + which + ", a " + std::string(type) +
                         ", loses by becoming a " + std::string(parameter) +
                         "; give a value that fits");
    }
  }
  if (rest != ")") refuse(types, result, ": it takes more arguments");
  if (arguments.empty()) out.put(std::uint8_t{0});
  out.finish();
  return bytes;
}

std::string Function::call_encoded(std::string_view arguments) const {
  std::string result;
  bool is_done = false;
  try {
    is_done = entry_->call(*entry_, arguments, result);
  } catch (const std::exception&) {
    throw;
  } catch (const abi::__forced_unwind&) {  // pthread_cancel: not ours to stop
    throw;
  } catch (...) {  // a function may throw anything
    throw CacheError(shown_name() + " threw something that is not a std::exception");
  }
  if (!is_done) {
    throw ConfigError(shown_name() + " does not understand its arguments, " +
                      std::string(parameters()) +
                      "; a codec of the caller differs from that of the function");
  }
  return result;
}

std::string Function::key_of_encoded(std::string_view arguments) const {
  if (entry_->append_key == nullptr) {
    throw ConfigError(shown_name() + " has a parameter without a text for a key, " +
                      std::string(parameters()) +
                      "; write key_of() for its type (polycache/key_of.h), or give a key_gen");
  }
  std::string key;
  if (!entry_->append_key(*entry_, arguments, key)) {
    throw ConfigError(shown_name() + " does not understand its arguments, " +
                      std::string(parameters()) +
                      "; a codec of the caller differs from that of the function");
  }
  return key;
}

Function find_function(std::string_view name, const CacheRegistry& registry) {
  const std::size_t colon = name.rfind(':');
  if (colon != std::string_view::npos) {
    const std::string_view library = name.substr(0, colon);
    const std::string_view function = name.substr(colon + 1);
    if (library.empty() || function.empty()) {
      throw ConfigError(quote(name) +
                        " is not the name of a function: write \"library:function\", or the name "
                        "of a registered one");
    }
    return {detail::functions::function_of_library(library, function, registry), std::string(name)};
  }
  const std::lock_guard lock(detail::fork_mutex());
  const Functions& known = registered();
  const auto found = known.find(name);
  if (found != known.end()) return found->second;
  std::vector<std::string_view> names;
  for (const auto& [known_name, function] : known) names.emplace_back(known_name);
  throw ConfigError("no function " + quote(name) + " is registered" +
                    detail::functions::known_names(name, names) +
                    "; register_function() adds one, and \"library:function\" is one of a library");
}

Function find_function(std::string_view name) { return find_function(name, global_registry()); }

void register_function(std::string name, Function function) {
  if (name.empty() || name.find(':') != std::string::npos) {
    throw ConfigError("register_function: " + quote(name) +
                      " is not a name: it is empty, or has a ':', which names a library");
  }
  const std::lock_guard lock(detail::fork_mutex());
  const auto [at, is_new] = registered().try_emplace(name, Function(function.entry_, name));
  if (!is_new) {
    throw ConfigError("register_function: the name " + quote(name) +
                      " is taken; choose another one");
  }
}

}  // namespace polycache
