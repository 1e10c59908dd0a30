#include "config_server/model/vm_name.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/base/name.h"

namespace homeward {
namespace {

// vSphere takes no longer ones.
constexpr size_t kCharactersMax = 80;

}  // namespace

Refusal CheckVmName(const std::string& name) {
  const auto refuse = [&](absl::string_view why) {
    return MakeProblem(
        ProblemId::kVmNameUnsuitable,
        absl::StrCat("\"", absl::CHexEscape(name), "\" cannot be a VM's name: ", why));
  };
  if (name.empty()) return refuse("it is empty");
  if (name.front() == ' ' || name.back() == ' ') return refuse("it begins or ends with a space");
  if (!IsUtf8(name)) return refuse("it is not UTF-8");
  size_t characters = 0;
  for (size_t at = 0; at < name.size(); ++at) {
    const auto byte = static_cast<unsigned char>(name[at]);
    const auto next = at + 1 < name.size() ? static_cast<unsigned char>(name[at + 1]) : 0u;
    // The second range of them is U+0080 to U+009F.
    if (byte < 0x20 || byte == 0x7f || (byte == 0xc2 && next < 0xa0))
      return refuse("it has a control character");
    if ((byte & 0xc0) != 0x80) ++characters;
  }
  if (characters > kCharactersMax) {
    return refuse(
        absl::StrCat("it has ", characters, " characters, and ", kCharactersMax, " are the most"));
  }
  return std::nullopt;
}

}  // namespace homeward
