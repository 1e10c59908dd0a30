#include "common/azure/shared_key.h"

#include <algorithm>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/tls/identity.h"

namespace homeward::azure {
namespace {

constexpr absl::string_view kOwnHeaders = "x-ms-";
constexpr size_t kAccountKeyCharactersMin = 43;  // of 32 bytes; Azure's have 64

// Azure's order of header names is not that of their bytes: '-' does not count, and '_' comes
// before digits (seen in the comparator of Microsoft's own SDK).
std::string SortKey(absl::string_view name) {
  std::string key;
  for (const char c : name) {
    if (c != '-') key.push_back(c == '_' ? '!' : c);
  }
  return key;
}

}  // namespace

std::string StringToSign(const RequestToSign& request, const std::string& account) {
  std::map<std::string, std::string> headers;
  for (const auto& [name, value] : request.headers) headers[absl::AsciiStrToLower(name)] = value;
  const auto header = [&](const char* name) -> std::string {
    const auto it = headers.find(name);
    return it == headers.end() ? "" : it->second;
  };
  std::string text = absl::StrCat(
      request.method, "\n", header("content-encoding"), "\n", header("content-language"), "\n",
      request.content_bytes == 0 ? "" : absl::StrCat(request.content_bytes), "\n",
      header("content-md5"), "\n", header("content-type"), "\n", header("date"), "\n",
      header("if-modified-since"), "\n", header("if-match"), "\n");
  absl::StrAppend(&text, header("if-none-match"), "\n", header("if-unmodified-since"), "\n",
                  header("range"), "\n");
  std::vector<std::pair<std::string, std::string>> own;
  for (const auto& [name, value] : headers) {
    if (absl::StartsWith(name, kOwnHeaders)) own.emplace_back(name, value);
  }
  absl::c_sort(own, [](const auto& a, const auto& b) {
    return std::make_pair(SortKey(a.first), a.first) < std::make_pair(SortKey(b.first), b.first);
  });
  for (const auto& [name, value] : own)
    absl::StrAppend(&text, name, ":", absl::StripAsciiWhitespace(value), "\n");
  absl::StrAppend(&text, "/", account, request.path);
  std::map<std::string, std::string> query;
  for (const auto& [name, value] : request.query) query[absl::AsciiStrToLower(name)] = value;
  for (const auto& [name, value] : query) absl::StrAppend(&text, "\n", name, ":", value);
  return text;
}

std::string SharedKeyAuthorization(const RequestToSign& request, const std::string& account,
                                   absl::string_view key) {
  return absl::StrCat("SharedKey ", account, ":",
                      absl::Base64Escape(KeyedDigest(key, StringToSign(request, account))));
}

absl::StatusOr<std::string> DecodeAccountKey(absl::string_view text) {
  text = absl::StripAsciiWhitespace(text);
  std::string key;
  if (text.size() >= kAccountKeyCharactersMin && absl::Base64Unescape(text, &key)) return key;
  return absl::InvalidArgumentError(
      "the key of the storage account is not one: give it as Azure shows it under \"Access "
      "keys\", in base64, without its name");
}

absl::StatusOr<std::string> CheckSharedAccessSignature(absl::string_view text) {
  text = absl::StripAsciiWhitespace(text);
  if (absl::StartsWith(text, "?")) text.remove_prefix(1);
  const std::vector<absl::string_view> parts = absl::StrSplit(text, '&');
  const bool is_signed =
      absl::c_any_of(parts, [](absl::string_view part) { return absl::StartsWith(part, "sig="); });
  const bool printable = absl::c_all_of(text, [](char c) { return absl::ascii_isgraph(c); });
  if (!is_signed || !printable) {
    return absl::InvalidArgumentError(
        "the shared access signature is not one: give the token as Azure shows it, "
        "\"sv=...&sig=...\", without an address");
  }
  return std::string(text);
}

}  // namespace homeward::azure
