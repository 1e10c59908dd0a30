// A key and a certificate are read once for all connections of this process.
//
// gRPC keeps an identity as PEM and reads it anew for each connection: with OpenSSL 3.0 that costs
// more than the handshake. An agent does so on a processor of its own; ten thousand of them on two
// cores would keep from the server what they are there to measure. A program's own function is
// found before a library's of the same name, by other libraries too, so gRPC calls these two. What
// they give is what OpenSSL made of the same text before; the handshake stays whole.
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <string>
#include <unordered_map>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace homeward {
namespace {

// Thread-safe. Grows with the fleet's identities and keeps them until the process ends.
template <typename Object, Object* (*kRead)(BIO*), int (*kKeep)(Object*)>
class ReadOnce {
 public:
  // As kRead: takes the first object from `bio`. The caller frees what it is given.
  Object* Read(BIO* bio) {
    char* whole = nullptr;
    const long size = BIO_get_mem_data(bio, &whole);
    if (BIO_method_type(bio) != BIO_TYPE_MEM || size == 0 || BIO_pending(bio) != size)
      return kRead(bio);  // Not a text from its beginning.
    std::string text(whole, static_cast<size_t>(size));
    {
      absl::MutexLock lock(&mutex_);
      if (const auto known = known_.find(text); known != known_.end()) {
        std::string taken(static_cast<size_t>(known->second.size), '\0');
        BIO_read(bio, taken.data(), static_cast<int>(taken.size()));
        return Kept(known->second.object);
      }
    }
    Object* const object = kRead(bio);
    if (object == nullptr) return nullptr;
    absl::MutexLock lock(&mutex_);
    const auto [added, is_new] =
        known_.try_emplace(std::move(text), Known{object, size - BIO_pending(bio)});
    return is_new ? Kept(object) : object;
  }

 private:
  struct Known {
    Object* object = nullptr;
    long size = 0;  // of its text
  };
  static Object* Kept(Object* object) {
    kKeep(object);
    return object;
  }

  absl::Mutex mutex_;
  std::unordered_map<std::string, Known> known_ ABSL_GUARDED_BY(mutex_);  // by the whole text
};

EVP_PKEY* ReadKey(BIO* bio) {
  return PEM_read_bio_PrivateKey_ex(bio, nullptr, nullptr, nullptr, nullptr, nullptr);
}

X509* ReadCertificate(BIO* bio) {
  return static_cast<X509*>(PEM_ASN1_read_bio(reinterpret_cast<d2i_of_void*>(d2i_X509_AUX),
                                              PEM_STRING_X509_TRUSTED, bio, nullptr, nullptr,
                                              nullptr));
}

}  // namespace
}  // namespace homeward

// Nobody asks for a passphrase, or gives an object to be filled: all keys here are in the clear.
extern "C" EVP_PKEY* PEM_read_bio_PrivateKey(BIO* bio, EVP_PKEY**, pem_password_cb*, void*) {
  static auto& keys = *new homeward::ReadOnce<EVP_PKEY, homeward::ReadKey, EVP_PKEY_up_ref>();
  return keys.Read(bio);
}

extern "C" X509* PEM_read_bio_X509_AUX(BIO* bio, X509**, pem_password_cb*, void*) {
  static auto& certificates =
      *new homeward::ReadOnce<X509, homeward::ReadCertificate, X509_up_ref>();
  return certificates.Read(bio);
}
