#include "common/metrics/metrics.h"

#include <prometheus/gauge.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace homeward {

struct Metrics::Registry {
  mutable absl::Mutex mutex;
  std::unique_ptr<prometheus::Registry> registry ABSL_GUARDED_BY(mutex);
};

Metrics::Metrics() : registry_(std::make_unique<Registry>()) { Clear(); }
Metrics::~Metrics() = default;

void Metrics::Clear() {
  absl::MutexLock lock(&registry_->mutex);
  registry_->registry =
      std::make_unique<prometheus::Registry>(prometheus::Registry::InsertBehavior::Merge);
}

void Metrics::SetGauge(const std::string& name, const std::string& help, const Labels& labels,
                       double value) {
  absl::MutexLock lock(&registry_->mutex);
  prometheus::BuildGauge()
      .Name(name)
      .Help(help)
      .Register(*registry_->registry)
      .Add(labels)
      .Set(value);
}

std::string Metrics::Render() const {
  absl::MutexLock lock(&registry_->mutex);
  return prometheus::TextSerializer().Serialize(registry_->registry->Collect());
}

}  // namespace homeward
