// FakeVcenter: the simulated vCenter (vcenter/README.md) as a process of this test.
#ifndef HOMEWARD_TESTS_FAKES_FAKE_VCENTER_H_
#define HOMEWARD_TESTS_FAKES_FAKE_VCENTER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/vsphere/session.h"

namespace homeward {

class FakeVcenter {
 public:
  // `topology` is the JSON of the inventory. Its files, and the file of the topology itself, go to
  // `directory`.
  static absl::StatusOr<std::unique_ptr<FakeVcenter>> Start(const std::string& directory,
                                                            const std::string& topology);
  ~FakeVcenter();  // Ends the process. It ends with this one too, however that ends.

  // How `user` with the password "secret" reaches it.
  vsphere::Endpoint EndpointFor(const std::string& user) const;
  // POST /control; the reply.
  absl::StatusOr<std::string> Order(const std::string& json);

 private:
  FakeVcenter() = default;
  int pid_ = 0;
  HostPort address_;
  std::string thumbprint_;
};

}  // namespace homeward

#endif  // HOMEWARD_TESTS_FAKES_FAKE_VCENTER_H_
