#include "common/config/proxy.h"

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace homeward {

void RequireProxy(const std::string& key, const config::v1::Proxy& proxy,
                  ConfigProblems* problems) {
  if (!proxy.address().empty())
    RequireAddress(absl::StrCat(key, ".address"), proxy.address(), problems);
  if (proxy.address().empty() && proxy.except_size() > 0)
    problems->Add(key, "has exceptions, but no address");
  for (int i = 0; i < proxy.except_size(); ++i) {
    const std::string& one = proxy.except(i);
    if (one.empty() ||
        absl::c_any_of(one, [](char c) { return c == ',' || absl::ascii_isspace(c); })) {
      problems->Add(absl::StrCat(key, ".except[", i, "]"),
                    "is one host name, domain, address or network; write another line for another");
    }
  }
}

}  // namespace homeward
