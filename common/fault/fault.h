// Named fault points: places where a test may make the code misbehave. Production code has none;
// they are in the copies of it that the planted bugs are built into (tests/simulation/planted),
// when HOMEWARD_FAULT_POINTS is defined. Elsewhere HW_FAULT(name) is the constant false.
#ifndef HOMEWARD_COMMON_FAULT_FAULT_H_
#define HOMEWARD_COMMON_FAULT_FAULT_H_

#include <functional>

#include "absl/strings/string_view.h"

namespace homeward::fault {

// Answers whether the fault called `name` happens now. Thread-safe. False while no decider is set.
bool Happens(absl::string_view name);

// Installs the decider for the whole process; an empty function removes it. Tests only.
void SetDecider(std::function<bool(absl::string_view name)> decider);

}  // namespace homeward::fault

#ifdef HOMEWARD_FAULT_POINTS
#define HW_FAULT(name) ::homeward::fault::Happens(name)
#else
#define HW_FAULT(name) false
#endif

#endif  // HOMEWARD_COMMON_FAULT_FAULT_H_
