#include "plugins/elf_check.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "polycache/author/descriptor.h"
#include "polycache/author/text.h"
#include "polycache/error.h"

namespace polycache {
namespace {

using Header = ElfW(Ehdr);
using Segment = ElfW(Phdr);
using Section = ElfW(Shdr);

// No library has more; a table that claims more is damaged.
constexpr std::uint64_t longest_name_table = 16 << 20;

std::string machine_name(unsigned machine) {
  switch (machine) {
    case EM_386:
      return "x86 (32-bit)";
    case EM_X86_64:
      return "x86-64";
    case EM_ARM:
      return "arm (32-bit)";
    case EM_AARCH64:
      return "arm64";
    case EM_RISCV:
      return "riscv";
    case EM_PPC64:
      return "ppc64";
    case EM_S390:
      return "s390x";
    default:
      return "ELF machine " + std::to_string(machine);
  }
}

// The header of the file that contains this code, as mapped by the loader: it defines "this
// machine".
const Header& own_header() {
  Dl_info info{};
  dladdr(reinterpret_cast<const void*>(&check_elf), &info);
  return *static_cast<const Header*>(info.dli_fbase);
}

// Whether [offset, offset + length) lies within [0, size), safe from overflow.
bool within(std::uint64_t offset, std::uint64_t length, std::uint64_t size) {
  return offset <= size && length <= size - offset;
}

bool is_read_at_its_address(std::uint32_t segment_type) {
  switch (segment_type) {
    case PT_DYNAMIC:
    case PT_INTERP:
    case PT_NOTE:
    case PT_PHDR:
    case PT_GNU_EH_FRAME:
    case PT_GNU_PROPERTY:
      return true;
    default:
      return false;
  }
}

bool power_of_two(std::uint64_t n) { return n != 0 && (n & (n - 1)) == 0; }

class Descriptor {
 public:
  // O_NONBLOCK: opening a pipe without a writer would block.
  explicit Descriptor(const std::filesystem::path& file)
      : fd_(off_standard_streams(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK))) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }

  int get() const noexcept { return fd_; }

 private:
  int fd_;
};

class ElfFile {
 public:
  explicit ElfFile(const std::filesystem::path& file)
      : name_('"' + file.string() + '"'), file_(file) {
    if (file_.get() < 0) fail("cannot be opened: " + std::generic_category().message(errno));
    struct stat status {};
    if (::fstat(file_.get(), &status) != 0) fail("cannot be read");
    kind_ = status.st_mode & S_IFMT;
    size_ = static_cast<std::uint64_t>(status.st_size);
  }

  void check() {
    read_header();
    check_machine();
    check_type();
    read_segments();
    read_sections();
    check_loads();
    check_sections_against_loads();
    check_other_segments();
    check_dynamic();
    check_relro();
    check_thread_storage();
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { throw PluginError(name_ + " " + what); }
  [[noreturn]] void damaged(const std::string& what) const {
    fail("is damaged: " + what + "; build or install it again");
  }
  // Fails if a part extends beyond the file.
  void require_inside(const std::string& part, std::uint64_t offset, std::uint64_t length) const {
    if (within(offset, length, size_)) return;
    fail("is truncated or damaged: " + part + " (" + std::to_string(length) + " bytes at " +
         std::to_string(offset) + ") reaches beyond the file's " + std::to_string(size_) +
         " bytes; build or install it again");
  }

  void read_at(std::uint64_t offset, void* to, std::size_t length) const {
    auto* out = static_cast<char*>(to);
    while (length > 0) {
      const ssize_t n = ::pread(file_.get(), out, length, static_cast<off_t>(offset));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail("cannot be read: " + std::generic_category().message(errno));
      if (n == 0) fail("became shorter while it was read");
      out += n;
      offset += static_cast<std::uint64_t>(n);
      length -= static_cast<std::size_t>(n);
    }
  }

  void read_header() {
    if (kind_ == S_IFDIR) fail("is a folder, not a shared library");
    if (kind_ != S_IFREG) fail("is not a regular file");
    if (size_ == 0) fail("is an empty file, not a shared library");
    char magic[SELFMAG] = {};
    read_at(0, magic, static_cast<std::size_t>(std::min<std::uint64_t>(size_, SELFMAG)));
    if (std::memcmp(magic, ELFMAG, SELFMAG) != 0) {
      fail("is not a shared library: it does not begin like an ELF file");
    }
    require_inside("its ELF header", 0, sizeof(Header));
    read_at(0, &header_, sizeof(Header));
  }

  void check_machine() const {
    const Header& own = own_header();
    const auto bits = [](const Header& header) {
      return header.e_ident[EI_CLASS] == ELFCLASS64   ? "64-bit"
             : header.e_ident[EI_CLASS] == ELFCLASS32 ? "32-bit"
                                                      : "of unknown word size";
    };
    const auto order = [](const Header& header) {
      return header.e_ident[EI_DATA] == ELFDATA2LSB   ? "little-endian"
             : header.e_ident[EI_DATA] == ELFDATA2MSB ? "big-endian"
                                                      : "of unknown byte order";
    };
    const auto differ = [&](const std::string& theirs, const std::string& ours) {
      fail("was built for another machine: it is " + theirs + ", this program is " + ours);
    };
    if (header_.e_ident[EI_CLASS] != own.e_ident[EI_CLASS]) differ(bits(header_), bits(own));
    if (header_.e_ident[EI_DATA] != own.e_ident[EI_DATA]) differ(order(header_), order(own));
    if (header_.e_machine != own.e_machine) {
      differ("for " + machine_name(header_.e_machine), "for " + machine_name(own.e_machine));
    }
    if (header_.e_ident[EI_VERSION] != EV_CURRENT || header_.e_version != EV_CURRENT) {
      damaged("its ELF version is not 1");
    }
  }

  void check_type() const {
    switch (header_.e_type) {
      case ET_DYN:
        return;
      case ET_EXEC:
        fail("is a program, not a shared library");
      case ET_REL:
        fail("is an object file, not a shared library: link it with -shared");
      case ET_CORE:
        fail("is a core dump, not a shared library");
      default:
        damaged("its ELF type is " + std::to_string(header_.e_type));
    }
  }

  void read_segments() {
    if (header_.e_phnum == 0) damaged("it has no segments");
    if (header_.e_phentsize != sizeof(Segment)) damaged("its segment table has another layout");
    segments_.resize(header_.e_phnum);
    require_inside("its segment table", header_.e_phoff, segments_.size() * sizeof(Segment));
    read_at(header_.e_phoff, segments_.data(), segments_.size() * sizeof(Segment));
  }

  void read_sections() {
    if (header_.e_shoff == 0 || header_.e_shnum == 0) {
      fail(
          "has no section table, so its ABI mark cannot be read; build it without a tool that "
          "removes the table (\"strip\" keeps it)");
    }
    if (header_.e_shentsize != sizeof(Section)) damaged("its section table has another layout");
    sections_.resize(header_.e_shnum);
    require_inside("its section table", header_.e_shoff, sections_.size() * sizeof(Section));
    read_at(header_.e_shoff, sections_.data(), sections_.size() * sizeof(Section));
    for (const Section& section : sections_) {
      if (section.sh_type == SHT_NULL || section.sh_type == SHT_NOBITS) continue;
      require_inside("a section", section.sh_offset, section.sh_size);
    }
    read_names();
  }

  void read_names() {
    if (header_.e_shstrndx == SHN_UNDEF || header_.e_shstrndx >= sections_.size()) {
      damaged("its section table has no table of names");
    }
    const Section& table = sections_[header_.e_shstrndx];
    if (table.sh_type != SHT_STRTAB || table.sh_size == 0 || table.sh_size > longest_name_table) {
      damaged("its table of section names is invalid");
    }
    names_.resize(static_cast<std::size_t>(table.sh_size));
    read_at(table.sh_offset, names_.data(), names_.size());
    if (names_.front() != '\0' || names_.back() != '\0') {
      damaged("its table of section names is not null-terminated");
    }
    for (const Section& section : sections_) {
      if (section.sh_name >= names_.size()) damaged("a section's name lies outside its table");
    }
  }

  std::string_view name_of(const Section& section) const {
    return names_.c_str() + section.sh_name;
  }

  // The segments that the loader maps lie inside the file, ascend, and do not overlap.
  void check_loads() const {
    std::uint64_t end = 0;
    bool any = false;
    for (const Segment& segment : segments_) {
      if (segment.p_type != PT_LOAD) continue;
      require_inside("a segment", segment.p_offset, segment.p_filesz);
      const bool sizes_fit = segment.p_filesz <= segment.p_memsz &&
                             within(segment.p_vaddr, segment.p_memsz, std::uint64_t{1} << 47U);
      const bool aligned = power_of_two(segment.p_align) &&
                           (segment.p_vaddr - segment.p_offset) % segment.p_align == 0;
      if (!sizes_fit || !aligned || (any && segment.p_vaddr < end)) {
        damaged("its segments do not fit together");
      }
      end = segment.p_vaddr + segment.p_memsz;
      any = true;
    }
    if (!any) damaged("it has no segment to load");
  }

  // The mapped segment that contains these addresses, with `in_file` bytes of them at that offset
  // of the file.
  const Segment* load_around(std::uint64_t address, std::uint64_t length, std::uint64_t offset,
                             std::uint64_t in_file) const {
    for (const Segment& load : segments_) {
      if (load.p_type != PT_LOAD || address < load.p_vaddr) continue;
      const std::uint64_t start = address - load.p_vaddr;
      if (!within(start, length, load.p_memsz)) continue;
      if (in_file == 0) return &load;
      if (within(start, in_file, load.p_filesz) && offset == load.p_offset + start) return &load;
    }
    return nullptr;
  }

  void check_sections_against_loads() const {
    for (const Section& section : sections_) {
      const bool takes_room = (section.sh_flags & SHF_ALLOC) != 0 && section.sh_size != 0;
      const bool in_file = section.sh_type != SHT_NOBITS;
      const bool thread_zeroes = (section.sh_flags & SHF_TLS) != 0 && !in_file;
      if (!takes_room || thread_zeroes) continue;
      const Segment* load = load_around(section.sh_addr, section.sh_size, section.sh_offset,
                                        in_file ? section.sh_size : 0);
      const auto lacks = [&](std::uint64_t wish, unsigned right) {
        return (section.sh_flags & wish) != 0 && (load->p_flags & right) == 0;
      };
      if (load == nullptr || lacks(SHF_ALLOC, PF_R) || lacks(SHF_WRITE, PF_W) ||
          lacks(SHF_EXECINSTR, PF_X)) {
        damaged("its segments and its sections disagree about " + quote(name_of(section)));
      }
    }
  }

  // Everything else that the loader or the unwinder reads at an address lies in mapped segments.
  // They ignore the types that are not named here.
  void check_other_segments() const {
    const Section* unwinding = find_section(".eh_frame_hdr");
    bool unwinding_found = unwinding == nullptr;
    for (const Segment& segment : segments_) {
      if (!is_read_at_its_address(segment.p_type) || segment.p_memsz == 0) continue;
      if (load_around(segment.p_vaddr, segment.p_memsz, segment.p_offset, segment.p_filesz) ==
          nullptr) {
        damaged("a segment lies outside the loaded segments");
      }
      if (segment.p_type == PT_PHDR && segment.p_offset != header_.e_phoff) {
        damaged("its segment table is at two different offsets");
      }
      if (segment.p_type == PT_GNU_EH_FRAME) {
        unwinding_found = unwinding != nullptr && segment.p_vaddr == unwinding->sh_addr &&
                          segment.p_memsz == unwinding->sh_size;
      }
    }
    if (!unwinding_found) damaged("its table for exceptions is not where its sections say");
  }

  const Section* find_section(std::string_view name) const {
    const auto found = std::find_if(sections_.begin(), sections_.end(),
                                    [&](const Section& s) { return name_of(s) == name; });
    return found == sections_.end() ? nullptr : &*found;
  }

  // There is one dynamic section, the same in both descriptions; and it is not that of a program,
  // which is position-independent and thus ET_DYN like a library.
  void check_dynamic() const {
    const auto is_dynamic = [](const Segment& s) { return s.p_type == PT_DYNAMIC; };
    const auto segment = std::find_if(segments_.begin(), segments_.end(), is_dynamic);
    const auto section = std::find_if(sections_.begin(), sections_.end(),
                                      [](const Section& s) { return s.sh_type == SHT_DYNAMIC; });
    if (segment == segments_.end() || section == sections_.end() ||
        std::count_if(segments_.begin(), segments_.end(), is_dynamic) != 1 ||
        segment->p_vaddr != section->sh_addr || segment->p_offset != section->sh_offset ||
        segment->p_memsz != section->sh_size || segment->p_filesz != section->sh_size) {
      damaged("its dynamic section is not where its segments say");
    }
    std::vector<ElfW(Dyn)> entries(static_cast<std::size_t>(section->sh_size / sizeof(ElfW(Dyn))));
    read_at(section->sh_offset, entries.data(), entries.size() * sizeof(ElfW(Dyn)));
    bool ends = false;
    for (const ElfW(Dyn) & entry : entries) {
      if (entry.d_tag == DT_NULL) {
        ends = true;
        break;
      }
      if (entry.d_tag == DT_FLAGS_1 && (entry.d_un.d_val & DF_1_PIE) != 0) {
        fail("is a program, not a shared library");
      }
    }
    if (!ends) damaged("its dynamic section has no end");
  }

  // The writable segment whose pages contain these addresses. mold lets a range begin some bytes
  // before its segment, in the same page; the last page may be rounded up.
  bool in_pages_of_writable_load(std::uint64_t address, std::uint64_t length,
                                 std::uint64_t page) const {
    return std::any_of(segments_.begin(), segments_.end(), [&](const Segment& load) {
      if (load.p_type != PT_LOAD || (load.p_flags & PF_W) == 0) return false;
      const std::uint64_t first = load.p_vaddr & ~(page - 1);
      return address >= first && within(address - first, length, load.p_memsz + 2 * page);
    });
  }

  // The range made read-only after relocation lies in one writable segment and contains nothing
  // that is written later.
  void check_relro() const {
    const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    for (const Segment& segment : segments_) {
      if (segment.p_type != PT_GNU_RELRO) continue;
      const std::uint64_t begin = segment.p_vaddr & ~(page - 1);
      const std::uint64_t end = (segment.p_vaddr + segment.p_memsz) & ~(page - 1);
      if (!in_pages_of_writable_load(segment.p_vaddr, segment.p_memsz, page)) {
        damaged("a segment lies outside the loaded segments");
      }
      for (const Section& section : sections_) {
        const std::string_view name = name_of(section);
        const bool stays_writable = (section.sh_flags & SHF_WRITE) != 0 &&
                                    (name.starts_with(".data") || name.starts_with(".bss")) &&
                                    name.find(".rel.ro") == std::string_view::npos;
        if (stays_writable && section.sh_addr < end && section.sh_addr + section.sh_size > begin) {
          damaged("its data would be read-only");
        }
      }
    }
  }

  void check_thread_storage() const {
    std::uint64_t begin = UINT64_MAX;
    std::uint64_t end = 0;
    for (const Section& section : sections_) {
      if ((section.sh_flags & SHF_TLS) == 0) continue;
      begin = std::min<std::uint64_t>(begin, section.sh_addr);
      end = std::max<std::uint64_t>(end, section.sh_addr + section.sh_size);
    }
    bool expected = end != 0;
    for (const Segment& segment : segments_) {
      if (segment.p_type != PT_TLS) continue;
      const bool fits =
          expected && segment.p_vaddr == begin && segment.p_filesz <= segment.p_memsz &&
          power_of_two(segment.p_align) && segment.p_align <= 1U << 20U &&
          segment.p_memsz <= end - begin + segment.p_align &&
          (segment.p_filesz == 0 || load_around(segment.p_vaddr, segment.p_filesz, segment.p_offset,
                                                segment.p_filesz) != nullptr);
      if (!fits) damaged("its thread-local storage is not where its sections say");
      expected = false;
    }
    if (expected) damaged("its thread-local storage is missing");
  }

  std::string name_;
  Descriptor file_;
  mode_t kind_ = 0;
  std::uint64_t size_ = 0;
  Header header_{};
  std::vector<Segment> segments_;
  std::vector<Section> sections_;
  std::string names_;  // the table of section names
};

}  // namespace

void check_elf(const std::filesystem::path& file) { ElfFile(file).check(); }

}  // namespace polycache
