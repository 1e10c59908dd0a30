#include "common/tls/tls_context.h"

#include "common/clock/clock.h"
#include "gtest/gtest.h"

namespace homeward {
namespace {

TlsIdentity MakeIdentity() {
  const RealClock clock;
  const auto authority = *CertificateAuthority::Create(clock.Now());
  TlsIdentity identity;
  identity.ca = authority.certificate();
  identity.key = *MakePrivateKey();
  identity.certificate =
      *authority.Sign(*MakeSigningRequest(identity.key),
                      {.role = Role::kAgent, .host_id = "host-1", .not_before = clock.Now()});
  return identity;
}

TEST(TlsContext, ConnectionsOfOneIdentityHaveOne) {
  const TlsIdentity identity = MakeIdentity();
  const auto client = *TlsContext::OfClient(identity),
             server = *TlsContext::OfServer(identity, {"a"});
  EXPECT_EQ(*TlsContext::OfClient(identity), client);
  EXPECT_EQ(*TlsContext::OfServer(identity, {"a"}), server);
  EXPECT_NE(client, server);
  EXPECT_NE(*TlsContext::OfServer(identity, {"b"}), server);
  EXPECT_NE(*TlsContext::OfClient(MakeIdentity()), client) << "a renewed one is used at once";
}

TEST(TlsContext, OneThatIsNotKeptServesWhoHasIt) {
  const TlsIdentity identity = MakeIdentity();
  const std::weak_ptr<const TlsContext> first = *TlsContext::OfClient(identity);
  const auto held = *TlsContext::OfServer(identity, {"a"});
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(TlsContext::OfClient(MakeIdentity()).ok());
  EXPECT_TRUE(first.expired()) << "keys of the past are not kept for ever";
  EXPECT_EQ(SSL_CTX_check_private_key(held->get()), 1);
}

TEST(TlsContext, AnIdentityOfNoUseIsRefused) {
  TlsIdentity identity = MakeIdentity();
  identity.key = *MakePrivateKey();  // of another certificate
  EXPECT_TRUE(absl::IsInvalidArgument(TlsContext::OfClient(identity).status()));
  identity.key = "";
  EXPECT_TRUE(absl::IsInvalidArgument(TlsContext::OfServer(identity, {"a"}).status()));
}

}  // namespace
}  // namespace homeward
