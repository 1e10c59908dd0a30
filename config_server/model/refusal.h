// Refusal: why something cannot be done. Nothing: it can.
#ifndef HOMEWARD_CONFIG_SERVER_MODEL_REFUSAL_H_
#define HOMEWARD_CONFIG_SERVER_MODEL_REFUSAL_H_

#include <optional>

#include "common/problem/problem.h"

namespace homeward {

using Refusal = std::optional<types::v1::Problem>;

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_MODEL_REFUSAL_H_
