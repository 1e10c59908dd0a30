// What a name or a path that an operator gives may hold: decided here, for all of them.
#ifndef HOMEWARD_COMMON_BASE_NAME_H_
#define HOMEWARD_COMMON_BASE_NAME_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace homeward {

// A machine's directory in a datastore; with what is put behind it, it stays a file name.
inline constexpr size_t kDirectoryBytesMax = 80;
// What operators call a host or a machine. Host names have 64 bytes at most.
inline constexpr size_t kHostNameBytesMax = 255;
inline constexpr size_t kPathBytesMax = 4095;

bool IsUtf8(absl::string_view text);

// Each returns what is wrong, for people, as "has a slash"; empty when nothing is.

// A name that people see and that may become a file's: UTF-8 of at most `bytes_max` bytes, without
// control characters, quotation marks and slashes of either direction, neither beginning with a dot
// nor with spaces around it.
std::string WrongInName(absl::string_view name, size_t bytes_max);
// A name that is typed into commands: ASCII letters, digits, '-', '_' and '.'.
std::string WrongInPlainName(absl::string_view name, size_t bytes_max);
// An absolute path: UTF-8, without control characters.
std::string WrongInPath(absl::string_view path);

}  // namespace homeward

#endif  // HOMEWARD_COMMON_BASE_NAME_H_
