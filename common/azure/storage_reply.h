// What Azure storage answers: its XML and its errors.
#ifndef HOMEWARD_COMMON_AZURE_STORAGE_REPLY_H_
#define HOMEWARD_COMMON_AZURE_STORAGE_REPLY_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/azure/page_blobs.h"
#include "common/net/https_client.h"

namespace homeward::azure {

struct BlobPage {
  std::vector<BlobProperties> blobs;  // page blobs only
  std::string next_marker;            // empty: the last page
};
// The body of List Blobs. INTERNAL: it is none.
absl::StatusOr<BlobPage> ParseBlobPage(absl::string_view xml);

struct RangePage {
  ExtentSet ranges;
  std::string next_marker;
};
// The body of Get Page Ranges. INTERNAL: it is none.
absl::StatusOr<RangePage> ParseRangePage(absl::string_view xml);

// Of Get Blob Properties. INTERNAL: it is no page blob's.
absl::StatusOr<BlobProperties> ReadProperties(const std::string& name, const std::string& snapshot,
                                              const HttpsReply& reply);

// Azure's error code, "ServerBusy"; empty where the reply is not from Azure.
std::string ErrorCodeOf(const HttpsReply& reply);
// OK for 2xx; else as PageBlobs says, with Azure's code, its words and the request id.
absl::Status StatusOf(const HttpsReply& reply);
// Whether the same request may succeed a little later, as after 503 ServerBusy.
bool MayPass(const HttpsReply& reply);

}  // namespace homeward::azure

#endif  // HOMEWARD_COMMON_AZURE_STORAGE_REPLY_H_
