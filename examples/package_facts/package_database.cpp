#include "package_database.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <fstream>
#include <istream>
#include <stdexcept>
#include <utility>

namespace package_facts {

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; }

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view blank = " \t\r\n";
  const auto first = text.find_first_not_of(blank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blank) - first + 1);
}

template <class F>
void for_each_part(std::string_view text, char separator, F f) {
  while (!text.empty()) {
    const auto end = std::min(text.find(separator), text.size());
    if (const auto part = trimmed(text.substr(0, end)); !part.empty()) f(part);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

// "name:arch (>= version)"
Relation parse_relation(std::string_view text) {
  Relation relation;
  const auto bracket = std::min(text.find('('), text.size());
  const auto name = trimmed(text.substr(0, bracket));
  const auto colon = std::min(name.find(':'), name.size());
  relation.name = name.substr(0, colon);
  relation.architecture = name.substr(std::min(colon + 1, name.size()));
  if (bracket == text.size()) return relation;
  const auto inside = trimmed(text.substr(bracket + 1, text.find(')') - bracket - 1));
  const auto version = std::min(inside.find_first_not_of("<>="), inside.size());
  relation.comparison = inside.substr(0, version);
  relation.version = trimmed(inside.substr(version));
  return relation;
}

void parse_needs(std::string_view text, std::vector<Alternatives>& out) {
  for_each_part(text, ',', [&out](std::string_view group) {
    Alternatives& alternatives = out.emplace_back();
    for_each_part(group, '|', [&alternatives](std::string_view relation) {
      alternatives.push_back(parse_relation(relation));
    });
  });
}

// One paragraph of the file.
struct Paragraph {
  Package package;
  bool installed = false;
};

// Only the last word of "install ok installed" matters. Triggers concern other packages.
bool is_installed(std::string_view status) {
  const auto state = status.substr(status.find_last_of(' ') + 1);
  return state == "installed" || state == "triggers-awaited" || state == "triggers-pending";
}

void read_field(std::string_view name, std::string_view text, Paragraph& paragraph) {
  Package& package = paragraph.package;
  if (name == "Package") {
    package.name = text;
  } else if (name == "Status") {
    paragraph.installed = is_installed(text);
  } else if (name == "Architecture") {
    package.architecture = text;
  } else if (name == "Version") {
    package.version = text;
  } else if (name == "Multi-Arch") {
    package.serves_all_architectures = text == "foreign";
  } else if (name == "Installed-Size") {
    std::from_chars(text.data(), text.data() + text.size(), package.kibibytes);
  } else if (name == "Depends" || name == "Pre-Depends") {
    parse_needs(text, package.needs);
  } else if (name == "Provides") {
    for_each_part(text, ',', [&package](std::string_view relation) {
      package.provides.push_back(parse_relation(relation));
    });
  }
}

// Fields of one paragraph. A value may continue in lines that begin with a blank.
class ParagraphReader {
 public:
  ParagraphReader(std::istream& in, const std::string& source_name)
      : in_(in), source_name_(source_name) {}

  // False at the end of the file.
  bool next(Paragraph& paragraph) {
    paragraph = {};
    std::string field;
    bool any = false;
    for (std::string line; std::getline(in_, line);) {
      ++line_number_;
      if (trimmed(line).empty()) {
        if (any) break;
        continue;
      }
      any = true;
      if (line.front() == ' ' || line.front() == '\t') {
        field += line;
      } else {
        finish(field, paragraph);
        field = std::move(line);
      }
    }
    finish(field, paragraph);
    return any;
  }

 private:
  void finish(std::string_view field, Paragraph& paragraph) const {
    if (field.empty()) return;
    const auto colon = field.find(':');
    if (colon == std::string_view::npos) {
      throw std::runtime_error(source_name_ + ":" + std::to_string(line_number_) +
                               ": this is no package database: expected \"Field: value\"");
    }
    read_field(field.substr(0, colon), trimmed(field.substr(colon + 1)), paragraph);
  }

  std::istream& in_;
  const std::string& source_name_;
  std::size_t line_number_ = 0;
};

// Removes and returns the longest prefix of `text` that has only digits, or only other characters.
std::string_view take(std::string_view& text, bool digits) {
  const auto end =
      std::find_if(text.begin(), text.end(), [digits](char c) { return is_digit(c) != digits; });
  const auto taken = text.substr(0, static_cast<std::size_t>(end - text.begin()));
  text.remove_prefix(taken.size());
  return taken;
}

// '~' sorts before the end of the text, the end before letters, letters before the rest.
int rank_at(std::string_view text, std::size_t i) {
  if (i >= text.size()) return 0;
  const char c = text[i];
  if (c == '~') return -1;
  return is_letter(c) ? c : c + 256;
}

int compare_words(std::string_view a, std::string_view b) {
  for (std::size_t i = 0; i < std::max(a.size(), b.size()); ++i) {
    if (const int difference = rank_at(a, i) - rank_at(b, i); difference != 0) return difference;
  }
  return 0;
}

int compare_numbers(std::string_view a, std::string_view b) {
  a.remove_prefix(std::min(a.find_first_not_of('0'), a.size()));
  b.remove_prefix(std::min(b.find_first_not_of('0'), b.size()));
  if (a.size() != b.size()) return a.size() < b.size() ? -1 : 1;
  return a.compare(b);
}

// Compares words and numbers alternately.
int compare_parts(std::string_view a, std::string_view b) {
  while (!a.empty() || !b.empty()) {
    if (const int words = compare_words(take(a, false), take(b, false)); words != 0) return words;
    if (const int numbers = compare_numbers(take(a, true), take(b, true)); numbers != 0)
      return numbers;
  }
  return 0;
}

struct Version {
  std::string_view epoch = {};
  std::string_view upstream = {};
  std::string_view revision = {};
};

Version split_version(std::string_view text) {
  Version version;
  if (const auto colon = text.find(':'); colon != std::string_view::npos) {
    version.epoch = text.substr(0, colon);
    text.remove_prefix(colon + 1);
  }
  const auto dash = std::min(text.rfind('-'), text.size());
  version.upstream = text.substr(0, dash);
  version.revision = text.substr(std::min(dash + 1, text.size()));
  return version;
}

bool fits_version(std::string_view there, const Relation& wanted) {
  if (wanted.comparison.empty()) return true;
  const int order = compare_versions(there, wanted.version);
  if (wanted.comparison == "<<") return order < 0;
  if (wanted.comparison == "<=") return order <= 0;
  if (wanted.comparison == "=") return order == 0;
  if (wanted.comparison == ">=") return order >= 0;
  return order > 0;  // ">>"
}

bool fits_architecture(const Package& there, const Package& asker, const Relation& wanted) {
  if (wanted.architecture == "any") return true;
  if (!wanted.architecture.empty()) return there.architecture == wanted.architecture;
  return there.architecture == asker.architecture || there.architecture == "all" ||
         asker.architecture == "all" || there.serves_all_architectures;
}

// A provision without a version matches only relations that accept any version.
bool is_provided_by(const Package& there, const Relation& wanted) {
  return std::any_of(there.provides.begin(), there.provides.end(),
                     [&wanted](const Relation& offer) {
                       return offer.name == wanted.name &&
                              (wanted.comparison.empty() ||
                               (!offer.version.empty() && fits_version(offer.version, wanted)));
                     });
}

}  // namespace

int compare_versions(std::string_view a, std::string_view b) {
  const Version left = split_version(a);
  const Version right = split_version(b);
  if (const int epochs = compare_numbers(left.epoch, right.epoch); epochs != 0) return epochs;
  if (const int upstreams = compare_parts(left.upstream, right.upstream); upstreams != 0)
    return upstreams;
  return compare_parts(left.revision, right.revision);
}

PackageDatabase PackageDatabase::from_file(const std::filesystem::path& file) {
  std::ifstream in(file);
  if (!in) {
    throw std::runtime_error("cannot read the package database \"" + file.string() +
                             "\"; name another one with --database");
  }
  return from_stream(in, file.string());
}

PackageDatabase PackageDatabase::from_stream(std::istream& in, const std::string& source_name) {
  PackageDatabase database;
  ParagraphReader reader(in, source_name);
  for (Paragraph paragraph; reader.next(paragraph);) {
    if (paragraph.installed && !paragraph.package.name.empty())
      database.add(std::move(paragraph.package));
  }
  if (database.packages_.empty())
    throw std::runtime_error(source_name + ": no installed package is described there");
  return database;
}

void PackageDatabase::add(Package package) {
  const std::size_t index = packages_.size();
  named_[package.name].push_back(index);
  for (const Relation& offer : package.provides) providing_[offer.name].push_back(index);
  packages_.push_back(std::move(package));
}

const Package* PackageDatabase::find(const Package& asker, const Alternatives& wanted) const {
  for (const Relation& relation : wanted) {
    if (const auto named = named_.find(relation.name); named != named_.end()) {
      for (const std::size_t index : named->second) {
        const Package& there = packages_[index];
        if (fits_architecture(there, asker, relation) && fits_version(there.version, relation))
          return &there;
      }
    }
    if (const auto providing = providing_.find(relation.name); providing != providing_.end()) {
      for (const std::size_t index : providing->second) {
        const Package& there = packages_[index];
        if (fits_architecture(there, asker, relation) && is_provided_by(there, relation))
          return &there;
      }
    }
  }
  return nullptr;
}

std::string PackageDatabase::id(const Package& package) const {
  const auto named = named_.find(package.name);
  const bool alone = named == named_.end() || named->second.size() == 1;
  return alone ? package.name : package.name + ":" + package.architecture;
}

const Package* PackageDatabase::find_by_id(std::string_view id) const {
  const auto it = std::find_if(packages_.begin(), packages_.end(),
                               [&](const Package& package) { return this->id(package) == id; });
  return it == packages_.end() ? nullptr : &*it;
}

}  // namespace package_facts
