#ifndef HOMEWARD_TESTS_FAKES_POINT_CONTENT_H_
#define HOMEWARD_TESTS_FAKES_POINT_CONTENT_H_

#include <string>
#include <vector>

#include "master_target/keeper/keeper.h"

namespace homeward {

// The content of each of the keeper's disks at one of its points; the replica is not touched.
// Errors are those of reading.
absl::StatusOr<std::vector<std::string>> PointContent(const Keeper& keeper,
                                                      absl::string_view point_id);

}  // namespace homeward

#endif  // HOMEWARD_TESTS_FAKES_POINT_CONTENT_H_
