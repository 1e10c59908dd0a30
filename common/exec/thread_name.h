#ifndef HOMEWARD_COMMON_EXEC_THREAD_NAME_H_
#define HOMEWARD_COMMON_EXEC_THREAD_NAME_H_

#include <string>
#include <thread>

namespace homeward {

// What tools that list threads show, as much of it as the system keeps.
void NameThread(std::thread* thread, const std::string& name);

}  // namespace homeward

#endif  // HOMEWARD_COMMON_EXEC_THREAD_NAME_H_
