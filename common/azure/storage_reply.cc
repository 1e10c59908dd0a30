#include "common/azure/storage_reply.h"

#include <pugixml.hpp>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace homeward::azure {
namespace {

constexpr absl::string_view kMetadataHeader = "x-ms-meta-";
constexpr size_t kWordsBytesMax = 300;  // of Azure's, in our messages

absl::StatusOr<pugi::xml_document> Parse(absl::string_view xml, const char* root) {
  pugi::xml_document document;
  const pugi::xml_parse_result result = document.load_buffer(xml.data(), xml.size());
  if (!result || document.child(root).empty()) {
    return absl::InternalError(absl::StrCat(
        "the reply is no ", root, " (", result.description(),
        "): is this the address of an Azure storage account, with nothing else before it?"));
  }
  return document;
}

// The header has it in quotes, and so has If-Match; the XML of List Blobs may have it without.
std::string QuotedEtag(absl::string_view etag) {
  return absl::StartsWith(etag, "\"") || etag.empty() ? std::string(etag)
                                                      : absl::StrCat("\"", etag, "\"");
}

absl::StatusOr<BlobProperties> ReadBlob(const pugi::xml_node node) {
  const pugi::xml_node properties = node.child("Properties");
  BlobProperties blob;
  blob.name = node.child("Name").text().as_string();
  blob.snapshot = node.child("Snapshot").text().as_string();
  blob.etag = QuotedEtag(properties.child("Etag").text().as_string());
  blob.leased = properties.child("LeaseStatus").text().as_string() == absl::string_view("locked");
  for (const pugi::xml_node name : node.child("Metadata").children())
    blob.metadata[absl::AsciiStrToLower(name.name())] = name.text().as_string();
  if (blob.name.empty() || blob.etag.empty() ||
      !absl::SimpleAtoi(properties.child("Content-Length").text().as_string(), &blob.bytes))
    return absl::InternalError("a blob in the list has no name, ETag or Content-Length");
  return blob;
}

// The code and Azure's words, of a body that need not be XML.
std::pair<std::string, std::string> ErrorIn(const HttpsReply& reply) {
  pugi::xml_document document;
  document.load_buffer(reply.body.data(), reply.body.size());
  const pugi::xml_node error = document.child("Error");
  std::string code = error.child("Code").text().as_string();
  if (code.empty()) code = HeaderOf(reply, "x-ms-error-code");
  std::string words = error.child("Message").text().as_string();
  const std::string detail = error.child("AuthenticationErrorDetail").text().as_string();
  // Azure repeats request id and time in its message, in lines of their own.
  words = words.substr(0, words.find('\n'));
  if (!detail.empty()) absl::StrAppend(&words, " ", detail);
  return {code, words.substr(0, kWordsBytesMax)};
}

bool IsThrottled(int http, absl::string_view code) {
  return http == 429 || http == 503 || code == "ServerBusy" ||
         absl::EndsWith(code, "OperationRateExceeded");
}

bool IsUnauthorised(int http, absl::string_view code) {
  return http == 401 || http == 403 || code == "InvalidAuthenticationInfo";
}

const char* RemedyOf(int http, absl::string_view code) {
  if (IsUnauthorised(http, code)) {
    return ": check the key, the shared access signature or the role of the credential (Storage "
           "Blob Data Contributor), the account's firewall, and this host's clock";
  }
  if (code == "ContainerNotFound") return ": create the container, or correct its address";
  if (code == "SnapshotsPresent") return ": delete its snapshots first";
  return "";
}

absl::StatusCode CodeOf(int http, absl::string_view code) {
  if (IsThrottled(http, code)) return absl::StatusCode::kResourceExhausted;
  if (IsUnauthorised(http, code)) return absl::StatusCode::kPermissionDenied;
  switch (http) {
    case 400:
      return code == "Crc64Mismatch" ? absl::StatusCode::kUnavailable
                                     : absl::StatusCode::kInvalidArgument;
    case 411:
    case 413:
    case 416:
      return absl::StatusCode::kInvalidArgument;
    case 404:
      return absl::StatusCode::kNotFound;
    case 409:
      if (absl::EndsWith(code, "AlreadyExists")) return absl::StatusCode::kAlreadyExists;
      return absl::StartsWith(code, "Lease") ? absl::StatusCode::kAborted
                                             : absl::StatusCode::kFailedPrecondition;
    case 412:
      return absl::StatusCode::kAborted;
    case 408:
      return absl::StatusCode::kUnavailable;
    default:
      return http >= 500 && http != 501 ? absl::StatusCode::kUnavailable
                                        : absl::StatusCode::kInternal;
  }
}

}  // namespace

absl::StatusOr<BlobPage> ParseBlobPage(absl::string_view xml) {
  const absl::StatusOr<pugi::xml_document> document = Parse(xml, "EnumerationResults");
  if (!document.ok()) return document.status();
  const pugi::xml_node root = document->child("EnumerationResults");
  if (root.child("Blobs").empty()) return absl::InternalError("the list of blobs has no Blobs");
  BlobPage page;
  for (const pugi::xml_node node : root.child("Blobs").children("Blob")) {
    const pugi::xml_node type = node.child("Properties").child("BlobType");
    if (type.text().as_string() != absl::string_view("PageBlob")) continue;
    absl::StatusOr<BlobProperties> blob = ReadBlob(node);
    if (!blob.ok()) return blob.status();
    page.blobs.push_back(*std::move(blob));
  }
  page.next_marker = root.child("NextMarker").text().as_string();
  return page;
}

absl::StatusOr<RangePage> ParseRangePage(absl::string_view xml) {
  const absl::StatusOr<pugi::xml_document> document = Parse(xml, "PageList");
  if (!document.ok()) return document.status();
  const pugi::xml_node root = document->child("PageList");
  RangePage page;
  for (const pugi::xml_node range : root.children("PageRange")) {
    uint64_t start = 0, end = 0;  // the last byte
    if (!absl::SimpleAtoi(range.child("Start").text().as_string(), &start) ||
        !absl::SimpleAtoi(range.child("End").text().as_string(), &end) || end < start ||
        end >= kPageBlobBytesMax) {
      return absl::InternalError(absl::StrCat("a page range from ",
                                              range.child("Start").text().as_string(), " to ",
                                              range.child("End").text().as_string()));
    }
    page.ranges.Add(Extent{start, end - start + 1});
  }
  page.next_marker = root.child("NextMarker").text().as_string();
  return page;
}

absl::StatusOr<BlobProperties> ReadProperties(const std::string& name, const std::string& snapshot,
                                              const HttpsReply& reply) {
  BlobProperties blob;
  blob.name = name;
  blob.snapshot = snapshot;
  blob.etag = QuotedEtag(HeaderOf(reply, "etag"));
  blob.leased = HeaderOf(reply, "x-ms-lease-status") == "locked";
  for (const auto& [header, value] : reply.headers) {
    if (absl::StartsWith(header, kMetadataHeader))
      blob.metadata[header.substr(kMetadataHeader.size())] = value;
  }
  const std::string type = HeaderOf(reply, "x-ms-blob-type");
  if (type != "PageBlob") {
    return absl::FailedPreconditionError(absl::StrCat(
        name, " is a \"", type, "\" and no page blob: delete it, or use another container"));
  }
  if (blob.etag.empty() || !absl::SimpleAtoi(HeaderOf(reply, "content-length"), &blob.bytes))
    return absl::InternalError(absl::StrCat(name, ": the reply has no ETag or Content-Length"));
  return blob;
}

std::string ErrorCodeOf(const HttpsReply& reply) { return ErrorIn(reply).first; }

absl::Status StatusOf(const HttpsReply& reply) {
  if (reply.code >= 200 && reply.code < 300) return absl::OkStatus();
  const auto [code, words] = ErrorIn(reply);
  const std::string request_id = HeaderOf(reply, "x-ms-request-id");
  std::string text = absl::StrCat("HTTP ", reply.code);
  if (!code.empty()) absl::StrAppend(&text, " ", code);
  if (!words.empty()) absl::StrAppend(&text, " (", absl::StripAsciiWhitespace(words), ")");
  if (request_id.empty() && code.empty()) {
    absl::StrAppend(&text, ", which is not from Azure: look at what is between");
  } else {
    absl::StrAppend(&text, ", request ", request_id);
  }
  return absl::Status(CodeOf(reply.code, code), absl::StrCat(text, RemedyOf(reply.code, code)));
}

bool MayPass(const HttpsReply& reply) {
  const absl::StatusCode code = CodeOf(reply.code, ErrorCodeOf(reply));
  return reply.code >= 400 &&
         (code == absl::StatusCode::kUnavailable || code == absl::StatusCode::kResourceExhausted);
}

}  // namespace homeward::azure
