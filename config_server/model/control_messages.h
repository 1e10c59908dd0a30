// Conversions between what the store keeps and what components say and are told.
#ifndef HOMEWARD_CONFIG_SERVER_MODEL_CONTROL_MESSAGES_H_
#define HOMEWARD_CONFIG_SERVER_MODEL_CONTROL_MESSAGES_H_

#include "homeward/control/v1/control.pb.h"
#include "homeward/storage/v1/storage.pb.h"

namespace homeward {

// As much of it as is kept.
storage::v1::Registration ToStorage(const control::v1::Registration& registration);
control::v1::ReplicaPhase ToControl(storage::v1::ReplicaPhase phase);
control::v1::Target ToControl(const storage::v1::Target& target);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_MODEL_CONTROL_MESSAGES_H_
