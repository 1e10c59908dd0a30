// Source: what a machine runs in when it is failed back, whatever it goes to. It is turned off,
// started again when that is undone, and removed with the commit where it was made by Homeward.
#ifndef HOMEWARD_CONFIG_SERVER_WORKFLOWS_SOURCE_H_
#define HOMEWARD_CONFIG_SERVER_WORKFLOWS_SOURCE_H_

#include <map>
#include <memory>

#include "config_server/model/view.h"
#include "config_server/workflows/cloud.h"
#include "config_server/workflows/hypervisor.h"
#include "config_server/workflows/step_result.h"

namespace homeward {

// Every function is called until it is done, and may be called again afterwards.
class Source {
 public:
  virtual ~Source() = default;
  // As far as it is known; what is not known counts as on.
  virtual bool IsOn(const View& view, const storage::v1::Machine& machine) const = 0;
  // Asks the guest to stop, and is done when it was seen to be off.
  virtual StepResult TurnOff(const View& view, const storage::v1::Machine& machine) = 0;
  virtual StepResult TurnOn(const View& view, const storage::v1::Machine& machine) = 0;
  // Removes it, where it was made for the machine; `kept` of the result names what was not.
  virtual StepResult Discard(const View& view, storage::v1::Machine* machine) = 0;
};

// Nobody knows what it is, or an operator turns it on and off: the agent's quiesce hook has stopped
// what matters.
class SourceByHook : public Source {
 public:
  bool IsOn(const View&, const storage::v1::Machine&) const override { return false; }
  StepResult TurnOff(const View&, const storage::v1::Machine&) override;
  StepResult TurnOn(const View&, const storage::v1::Machine&) override;
  StepResult Discard(const View&, storage::v1::Machine*) override;
};

// The VM of a vCenter that it was recorded as. It stays there: the machine may come home to it.
class SourceVcenterVm : public Source {
 public:
  // Null: there is no vCenter. It outlives this.
  explicit SourceVcenterVm(Hypervisor* hypervisor) : hypervisor_(hypervisor) {}
  bool IsOn(const View& view, const storage::v1::Machine& machine) const override;
  StepResult TurnOff(const View& view, const storage::v1::Machine& machine) override;
  StepResult TurnOn(const View& view, const storage::v1::Machine& machine) override;
  StepResult Discard(const View& view, storage::v1::Machine* machine) override;

 private:
  StepResult Move(const View& view, const storage::v1::Machine& machine, VmMove::Kind kind);
  Hypervisor* const hypervisor_;
};

// The VM that was made for it in Azure.
class SourceAzureVm : public Source {
 public:
  // Null: there is none. It outlives this.
  explicit SourceAzureVm(Cloud* cloud) : cloud_(cloud) {}
  bool IsOn(const View& view, const storage::v1::Machine& machine) const override;
  StepResult TurnOff(const View& view, const storage::v1::Machine& machine) override;
  StepResult TurnOn(const View& view, const storage::v1::Machine& machine) override;
  StepResult Discard(const View& view, storage::v1::Machine* machine) override;

 private:
  StepResult Move(const storage::v1::Machine& machine, CloudMove::Kind kind, bool for_ever);
  Cloud* const cloud_;
};

// The one of each kind that jobs work with.
class Sources {
 public:
  // Both outlive it; null where there is none.
  Sources(Hypervisor* hypervisor, Cloud* cloud);
  // Of a job that an older program began no source is known.
  Source& At(storage::v1::Source kind) const;

 private:
  std::map<storage::v1::Source, std::unique_ptr<Source>> all_;
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_WORKFLOWS_SOURCE_H_
