// What the homeward command prints for programs. The schema is stable: names as in the protos,
// every field present.
#ifndef HOMEWARD_CONFIG_SERVER_CLI_DOCUMENTS_H_
#define HOMEWARD_CONFIG_SERVER_CLI_DOCUMENTS_H_

#include <string>

#include "google/protobuf/message.h"

namespace homeward {

// Both end with a line feed. Whole numbers of 64 bits are strings, as protobuf's JSON has them.
std::string ToJson(const google::protobuf::Message& message);
// The same content; the names of a map are sorted.
std::string ToYaml(const google::protobuf::Message& message);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_CLI_DOCUMENTS_H_
