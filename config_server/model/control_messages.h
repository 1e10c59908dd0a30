// Between what the store keeps and what parts say and are told: the one place that has both.
#ifndef HOMEWARD_CONFIG_SERVER_MODEL_CONTROL_MESSAGES_H_
#define HOMEWARD_CONFIG_SERVER_MODEL_CONTROL_MESSAGES_H_

#include "homeward/control/v1/control.pb.h"
#include "homeward/storage/v1/storage.pb.h"

namespace homeward {

// As much of it as is kept.
storage::v1::Registration ToStorage(const control::v1::Registration& registration);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_MODEL_CONTROL_MESSAGES_H_
