// Times and durations of protobuf, to and from Abseil's.
#ifndef HOMEWARD_COMMON_WIRE_TIME_PROTO_H_
#define HOMEWARD_COMMON_WIRE_TIME_PROTO_H_

#include "absl/time/time.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/timestamp.pb.h"

namespace homeward {

inline absl::Duration FromProto(const google::protobuf::Duration& value) {
  return absl::Seconds(value.seconds()) + absl::Nanoseconds(value.nanos());
}
inline absl::Time FromProto(const google::protobuf::Timestamp& value) {
  return absl::FromUnixSeconds(value.seconds()) + absl::Nanoseconds(value.nanos());
}
inline google::protobuf::Duration ToProto(absl::Duration value) {
  google::protobuf::Duration out;
  out.set_seconds(absl::IDivDuration(value, absl::Seconds(1), &value));
  out.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(value)));
  return out;
}
inline google::protobuf::Timestamp ToProto(absl::Time value) {
  google::protobuf::Timestamp out;
  const int64_t seconds = absl::ToUnixSeconds(value);
  out.set_seconds(seconds);
  out.set_nanos(
      static_cast<int32_t>(absl::ToInt64Nanoseconds(value - absl::FromUnixSeconds(seconds))));
  return out;
}

}  // namespace homeward

#endif  // HOMEWARD_COMMON_WIRE_TIME_PROTO_H_
