#include "common/base/name.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace homeward {
namespace {

// The character at the front, and how many bytes it has; 0 bytes: it is not UTF-8.
struct Character {
  uint32_t value = 0;
  size_t bytes = 0;
};

Character FirstOf(absl::string_view text) {
  const auto lead = static_cast<unsigned char>(text.front());
  if (lead < 0x80) return {lead, 1};
  const size_t bytes = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < bytes) return {};
  uint32_t value = lead & (0x7f >> bytes);
  for (size_t i = 1; i < bytes; ++i) {
    const auto next = static_cast<unsigned char>(text[i]);
    if ((next & 0xc0) != 0x80) return {};
    value = value << 6 | (next & 0x3f);
  }
  // Written longer than it is, half of a surrogate pair, or beyond Unicode.
  const bool shorter = (bytes == 3 && value < 0x800) || (bytes == 4 && value < 0x10000);
  if (shorter || (value >= 0xd800 && value < 0xe000) || value > 0x10ffff) return {};
  return {value, bytes};
}

// U+2028 and U+2029 end a line in some readers.
bool IsControl(uint32_t value) {
  return value < 0x20 || (value >= 0x7f && value < 0xa0) || value == 0x2028 || value == 0x2029;
}

std::string WrongInText(absl::string_view text, size_t bytes_max) {
  if (text.empty()) return "is empty";
  if (text.size() > bytes_max) {
    return absl::StrCat("has ", text.size(), " bytes; ", bytes_max,
                        " are allowed, and a character that is not ASCII has two to four");
  }
  for (size_t at = 0; at < text.size();) {
    const Character character = FirstOf(text.substr(at));
    if (character.bytes == 0) return absl::StrCat("is not UTF-8 at byte ", at + 1);
    if (IsControl(character.value)) {
      return absl::StrCat("has a control character (U+",
                          absl::Hex(character.value, absl::kZeroPad4), ") at byte ", at + 1);
    }
    at += character.bytes;
  }
  return "";
}

}  // namespace

bool IsUtf8(absl::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const size_t bytes = FirstOf(text.substr(at)).bytes;
    if (bytes == 0) return false;
    at += bytes;
  }
  return true;
}

std::string WrongInName(absl::string_view name, size_t bytes_max) {
  std::string wrong = WrongInText(name, bytes_max);
  if (!wrong.empty()) return wrong;
  if (name.find('"') != name.npos) return "has a quotation mark (\")";
  if (name.find('/') != name.npos) return "has a slash";
  if (name.find('\\') != name.npos) return "has a backslash";
  if (name.front() == '.') return "begins with a dot";
  if (name.front() == ' ') return "begins with a space";
  if (name.back() == ' ') return "ends with a space";
  return "";
}

std::string WrongInPlainName(absl::string_view name, size_t bytes_max) {
  std::string wrong = WrongInName(name, bytes_max);
  if (!wrong.empty()) return wrong;
  const bool plain = std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.';
  });
  return plain ? "" : "has something else than letters, digits, -, _ and .";
}

std::string WrongInPath(absl::string_view path) {
  std::string wrong = WrongInText(path, kPathBytesMax);
  if (wrong.empty() && path.front() != '/') return "is not an absolute path";
  return wrong;
}

}  // namespace homeward
