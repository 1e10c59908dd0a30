#include "common/audit/audit_chain.h"

#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "homeward/admin/v1/admin.pb.h"

namespace homeward {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using types::v1::AuditContent;
using types::v1::AuditEntry;

AuditContent Asked(const std::string& operation) {
  AuditContent content;
  content.set_kind(AuditContent::ASKED);
  content.set_operation(operation);
  return content;
}

class AuditChainTest : public ::testing::Test {
 protected:
  AuditChainTest() {
    AuditChain chain;
    for (const char* const operation : {"one", "two", "three", "four"})
      entries_.push_back(chain.Append(Asked(operation)));
  }
  // Of the first entry that does not follow; OK when all do.
  absl::Status Check() const {
    AuditChain chain;
    for (const AuditEntry& entry : entries_) {
      const absl::Status followed = chain.Follow(entry).status();
      if (!followed.ok()) return followed;
    }
    return absl::OkStatus();
  }
  std::vector<AuditEntry> entries_;
};

TEST_F(AuditChainTest, HoldsFromAnyEntryOn) {
  EXPECT_TRUE(Check().ok());
  entries_.erase(entries_.begin());
  EXPECT_TRUE(Check().ok()) << "the oldest are dropped";
  AuditChain chain;
  ASSERT_TRUE(chain.Follow(entries_.back()).ok());
  EXPECT_EQ(chain.number(), 4u);
  AuditChain goes_on(chain.number(), chain.hash());
  entries_.push_back(goes_on.Append(Asked("five")));
  EXPECT_TRUE(Check().ok());
}

TEST_F(AuditChainTest, WhatIsChangedIsFound) {
  for (size_t at = 0; at < entries_.front().content().size(); ++at) {
    AuditEntry changed = entries_[1];
    (*changed.mutable_content())[at] ^= 1;
    AuditChain chain;
    ASSERT_TRUE(chain.Follow(entries_[0]).ok());
    EXPECT_TRUE(absl::IsDataLoss(chain.Follow(changed).status())) << at;
  }
}

TEST_F(AuditChainTest, WhatIsReplacedWithItsHashIsFoundAtTheNext) {
  AuditChain other;
  entries_[0] = other.Append(Asked("another one"));
  EXPECT_THAT(Check().message(), HasSubstr("entry 2 does not follow from entry 1"));
}

TEST_F(AuditChainTest, WhatIsTakenOutOrPutInIsFound) {
  const std::vector<AuditEntry> all = entries_;
  entries_.erase(entries_.begin() + 1);
  EXPECT_THAT(Check().message(), HasSubstr("the entry after 1 is number 3"));
  entries_ = all;
  entries_.insert(entries_.begin() + 1, all[0]);
  EXPECT_THAT(Check().message(), HasSubstr("the entry after 1 is number 1"));
  entries_ = {AuditEntry()};
  EXPECT_TRUE(absl::IsDataLoss(Check()));
}

TEST(AuditTextOf, HasWhatWasAskedAndNoSecret) {
  admin::v1::AddVcenterRequest vcenter;
  vcenter.set_name("vc");
  vcenter.set_user("administrator");
  vcenter.set_password("correct horse");
  EXPECT_EQ(AuditTextOf(vcenter), R"(name: "vc" user: "administrator")");
  admin::v1::ProtectRequest many;
  many.set_machine(std::string(3000, 'm'));
  EXPECT_EQ(AuditTextOf(many).size(), kAuditRequestBytesMax);
}

// Whatever operators may send.
TEST(AuditTextOf, EveryFieldThatSoundsSecretIsMarked) {
  const auto* const service = google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(
      "homeward.admin.v1.AdminService");
  ASSERT_NE(service, nullptr);
  for (int i = 0; i < service->method_count(); ++i) {
    const auto& request = *service->method(i)->input_type();
    for (int k = 0; k < request.field_count(); ++k) {
      const auto& field = *request.field(k);
      if (field.type() != google::protobuf::FieldDescriptor::TYPE_STRING) continue;
      if (field.options().GetExtension(types::v1::secret)) continue;
      for (const char* const word : {"password", "secret", "passphrase", "token", "key"})
        EXPECT_THAT(field.name(), Not(HasSubstr(word))) << request.name();
    }
  }
}

}  // namespace
}  // namespace homeward
