#include "config_server/model/locations.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "common/base/check.h"

namespace homeward {
namespace {

const std::vector<std::unique_ptr<const LocationRules>>& All() {
  static const auto& all = *[] {
    auto* const rules = new std::vector<std::unique_ptr<const LocationRules>>();
    rules->push_back(std::make_unique<DatastoreDirectoryRules>());
    rules->push_back(std::make_unique<OriginalVmRules>());
    rules->push_back(std::make_unique<AlternateVmRules>());
    rules->push_back(std::make_unique<AzureVmRules>());
    return rules;
  }();
  return all;
}

template <typename Predicate>
const LocationRules& First(const Predicate& predicate) {
  const auto found = std::find_if(All().begin(), All().end(),
                                  [&](const auto& rules) { return predicate(*rules); });
  HW_CHECK(found != All().end());
  return **found;
}

}  // namespace

const LocationRules& RulesOf(storage::v1::Location location) {
  return First([&](const LocationRules& rules) { return rules.kind() == location; });
}

const LocationRules& RulesOf(const storage::v1::Machine& machine) {
  return RulesOf(machine.assignment().placement().location());
}

const LocationRules& RulesMeant(const storage::v1::Machine& machine, const PlacementWish& wish) {
  if (wish.location.has_value()) return RulesOf(*wish.location);
  return First([&](const LocationRules& rules) { return rules.IsMeant(machine, wish); });
}

}  // namespace homeward
