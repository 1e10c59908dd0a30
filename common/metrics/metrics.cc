#include "common/metrics/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "common/base/check.h"

namespace homeward {

struct Metrics::Registry {
  prometheus::Registry registry{prometheus::Registry::InsertBehavior::Merge};
};

Metrics::Metrics() : registry_(std::make_unique<Registry>()) {}
Metrics::~Metrics() = default;

void Metrics::SetGauge(const std::string& name, const std::string& help, const Labels& labels,
                       double value) {
  prometheus::BuildGauge()
      .Name(name)
      .Help(help)
      .Register(registry_->registry)
      .Add(labels)
      .Set(value);
}

void Metrics::SetCounter(const std::string& name, const std::string& help, const Labels& labels,
                         double total) {
  HW_CHECK(absl::EndsWith(name, "_total"));
  prometheus::Counter& counter =
      prometheus::BuildCounter().Name(name).Help(help).Register(registry_->registry).Add(labels);
  counter.Increment(std::max(0.0, total - counter.Value()));
}

std::string Metrics::Render() const {
  return prometheus::TextSerializer().Serialize(registry_->registry.Collect());
}

}  // namespace homeward
