// Config: a daemon's configuration file, one typed message in text format. Every problem is found
// at once, each with its line.
#ifndef HOMEWARD_COMMON_CONFIG_CONFIG_H_
#define HOMEWARD_COMMON_CONFIG_CONFIG_H_

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/message.h"

namespace homeward {

// What is wrong with one configuration. One thread.
class ConfigProblems {
 public:
  struct Problem {
    int line = 0;  // from 1; 0: the file as a whole
    std::string text;
  };
  virtual ~ConfigProblems() = default;
  // `key` is dotted, as in "join.config_server" or "disks[1].path"; what is not there is reported
  // at the message that should hold it.
  virtual void Add(const std::string& key, const std::string& text) = 0;
};

using ConfigCheck = std::function<void(const google::protobuf::Message&, ConfigProblems*)>;

// Reads `text` into `config` and has it checked. A former name of a key is read as the one of
// today. INVALID_ARGUMENT lists all problems, one a line, as "NAME:LINE: key: text".
absl::Status ParseConfig(const std::string& name, const std::string& text, const ConfigCheck& check,
                         google::protobuf::Message* config);

// Checks that most daemons need.
void RequireAddress(const std::string& key, const std::string& value, ConfigProblems* problems);
void RequireAbsolutePath(const std::string& key, const std::string& value,
                         ConfigProblems* problems);
// As WrongInName() of common/base/name.h; an empty one is right, and takes the default.
void RequireName(const std::string& key, const std::string& value, size_t bytes_max,
                 ConfigProblems* problems);
void RequirePositive(const std::string& key, const google::protobuf::Duration& value, bool present,
                     ConfigProblems* problems);

// `otherwise` when the field is absent.
absl::Duration DurationOr(const google::protobuf::Duration& value, bool present,
                          absl::Duration otherwise);

}  // namespace homeward

#endif  // HOMEWARD_COMMON_CONFIG_CONFIG_H_
