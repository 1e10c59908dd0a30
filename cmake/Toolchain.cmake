# Compiler settings shared by every target of the project.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo)
endif()
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g1")

find_program(HOMEWARD_CCACHE ccache)
set(CMAKE_CXX_COMPILER_LAUNCHER "${CMAKE_SOURCE_DIR}/cmake/launch")
if(HOMEWARD_CCACHE)
  list(APPEND CMAKE_CXX_COMPILER_LAUNCHER ${HOMEWARD_CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${HOMEWARD_CCACHE})
endif()

# Flags for our own code; generated code does not take the warnings.
add_library(homeward_flags INTERFACE)
target_include_directories(homeward_flags INTERFACE "${CMAKE_SOURCE_DIR}")
# Libraries and programs alike, so that they can share precompiled headers.
target_compile_options(homeward_flags INTERFACE -fPIC)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(homeward_flags INTERFACE -fpch-preprocess)
endif()
if(HOMEWARD_SANITIZE)
  target_compile_options(homeward_flags INTERFACE -fsanitize=${HOMEWARD_SANITIZE} -fno-omit-frame-pointer)
  if(HOMEWARD_SANITIZE MATCHES "undefined")
    # What is wrong fails the test. A null pointer that is used stops the address sanitizer too, and checks for it, for a dynamic
    # type and for an object's size cost a fifth of the build's time.
    target_compile_options(homeward_flags INTERFACE -fno-sanitize=null,vptr,object-size -fno-sanitize-recover=undefined)
  endif()
  target_link_options(homeward_flags INTERFACE -fsanitize=${HOMEWARD_SANITIZE})
endif()
if(HOMEWARD_SANITIZE STREQUAL "thread")
  # Debian's Abseil is not built for the thread sanitizer: tests/tsan tells it what its mutexes do.
  add_library(homeward_tsan OBJECT "${CMAKE_SOURCE_DIR}/tests/tsan/absl_synchronization.cc")
  target_compile_features(homeward_tsan PRIVATE cxx_std_20)
  set_target_properties(homeward_tsan PROPERTIES POSITION_INDEPENDENT_CODE ON)
  target_link_libraries(homeward_flags INTERFACE "$<TARGET_OBJECTS:homeward_tsan>")
  foreach(symbol 5Mutex4LockEv 5Mutex6UnlockEv 5MutexD1Ev 5Mutex5AwaitERKNS0_9ConditionE
          5Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE 7CondVar4WaitEPNS0_5MutexE
          7CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE 12Notification6NotifyEv)
    target_link_options(homeward_flags INTERFACE "-Wl,--wrap=_ZN4absl7debian3${symbol}")
  endforeach()
  foreach(symbol 12Notification19WaitForNotificationEv
          12Notification30WaitForNotificationWithTimeoutENS0_8DurationE)
    target_link_options(homeward_flags INTERFACE "-Wl,--wrap=_ZNK4absl7debian3${symbol}")
  endforeach()
endif()
if(HOMEWARD_FUZZ)
  target_compile_options(homeward_flags INTERFACE -fsanitize=fuzzer-no-link)
  target_compile_definitions(homeward_flags INTERFACE HOMEWARD_FUZZ=1)
endif()
if(HOMEWARD_FAULT_POINTS)
  target_compile_definitions(homeward_flags INTERFACE HOMEWARD_FAULT_POINTS=1)
endif()
add_library(homeward_warnings INTERFACE)
target_compile_options(homeward_warnings INTERFACE -Wall -Wextra -Wno-unused-parameter -Werror=return-type
                       -Werror=unused-result -Wnon-virtual-dtor)
if(HOMEWARD_THREAD_SAFETY)
  target_compile_options(homeward_warnings INTERFACE -Werror=thread-safety)
endif()
