#include "common/exec/thread_name.h"

#include <pthread.h>

namespace homeward {

void NameThread(std::thread* thread, const std::string& name) {
  ::pthread_setname_np(thread->native_handle(), name.substr(0, 15).c_str());
}

}  // namespace homeward
