# homeward_library(NAME journal LAYER 2 SOURCES a.cc b.h DEPS os status LINK absl::strings [GRPC])
#
# Declares the library homeward_<NAME>. DEPS are libraries of ours, by their short names; LINK are
# third-party targets. Configuring stops when a dependency
#   * is not defined yet (the order of add_subdirectory is the order of the layers),
#   * is in a higher layer, or
#   * crosses from one daemon's room into another's.
# Tests may also name libraries of tests/, which are defined after all others; so nothing else can.
#
# What nearly every file includes is compiled once (precompiled headers, below): GRPC gives the target gRPC's headers too,
# DEPS proto those of the messages, a test those of GoogleTest. The release preset does without: a build of it finds a forgotten include.
#
# The builds of tests/run compile several files of a target as one (unity builds): two files of a target cannot each have a name of
# their own that is the same in both.
#
# homeward_program(NAME homeward-agent SOURCES ... DEPS ...)   an executable, same rules
# homeward_test(NAME journal_test SOURCES ... DEPS ... [LABELS unit])

set_property(GLOBAL PROPERTY HOMEWARD_GRAPH "")

set(_homeward_usual_headers
    <algorithm> <array> <cstdint> <functional> <map> <memory> <optional> <set> <string> <utility> <vector>
    <absl/algorithm/container.h> <absl/base/thread_annotations.h> <absl/container/btree_map.h> <absl/status/status.h>
    <absl/status/statusor.h> <absl/strings/ascii.h> <absl/strings/match.h> <absl/strings/numbers.h> <absl/strings/str_cat.h>
    <absl/strings/str_join.h> <absl/strings/string_view.h> <absl/synchronization/mutex.h> <absl/time/time.h>
    <absl/types/span.h>)
set(_homeward_message_headers <homeward/control/v1/control.pb.h>)
set(_homeward_grpc_headers <grpcpp/grpcpp.h>)
set(_homeward_test_headers <gmock/gmock.h> <gtest/gtest.h>)

# Whose precompiled header `target` uses; it is made when the first one asks for it.
function(_homeward_precompile target)
  cmake_parse_arguments(ARG "GRPC;PROTO;TEST" "" "" ${ARGN})
  if(HOMEWARD_THREAD_SAFETY OR HOMEWARD_FUZZ)
    return()
  endif()
  set(headers ${_homeward_usual_headers})
  set(name homeward_headers)
  if(ARG_GRPC)
    list(PREPEND headers ${_homeward_grpc_headers})
    string(APPEND name _grpc)
  endif()
  if(ARG_PROTO)
    list(APPEND headers ${_homeward_message_headers})
    string(APPEND name _proto)
  endif()
  if(ARG_TEST)
    list(APPEND headers ${_homeward_test_headers})
    string(APPEND name _test)
  endif()
  if(NOT TARGET ${name})
    file(WRITE "${CMAKE_BINARY_DIR}/${name}.cc" "")
    add_library(${name} STATIC "${CMAKE_BINARY_DIR}/${name}.cc")
    target_link_libraries(${name} PRIVATE homeward_flags homeward_warnings)
    if(ARG_GRPC OR ARG_PROTO)
      target_link_libraries(${name} PRIVATE homeward_proto)
    endif()
    if(ARG_TEST)
      target_link_libraries(${name} PRIVATE GTest::gtest GTest::gmock)
    endif()
    target_precompile_headers(${name} PRIVATE ${headers})
  endif()
  target_precompile_headers(${target} REUSE_FROM ${name})
endfunction()

function(_homeward_room out)
  file(RELATIVE_PATH relative "${CMAKE_SOURCE_DIR}" "${CMAKE_CURRENT_SOURCE_DIR}")
  string(REGEX REPLACE "/.*" "" room "${relative}")
  if(relative MATCHES "^config_server/(cli|web)")
    set(room "config_server/${CMAKE_MATCH_1}")
  endif()
  set(${out} "${room}" PARENT_SCOPE)
endfunction()

function(_homeward_add target name layer)
  cmake_parse_arguments(ARG "GRPC" "" "SOURCES;DEPS;LINK" ${ARGN})
  _homeward_room(room)
  set(headers "")
  if(ARG_GRPC)
    list(APPEND headers GRPC)
  endif()
  if(layer EQUAL 5 AND target MATCHES "_test$")
    list(APPEND headers TEST)
  endif()
  foreach(dep ${ARG_DEPS})
    if(NOT TARGET homeward_${dep} AND layer EQUAL 5)
      set_property(GLOBAL APPEND PROPERTY HOMEWARD_LATER "${name}:${dep}")
      continue()
    endif()
    if(NOT TARGET homeward_${dep})
      message(FATAL_ERROR "${name}: dependency '${dep}' is not defined yet. Depend downward only: "
                          "the order of add_subdirectory is the order of the layers.")
    endif()
    get_target_property(dep_layer homeward_${dep} HOMEWARD_LAYER)
    get_target_property(dep_room homeward_${dep} HOMEWARD_ROOM)
    get_target_property(dep_headers homeward_${dep} HOMEWARD_HEADERS)
    if(dep STREQUAL "proto" OR dep_headers MATCHES "PROTO")
      list(APPEND headers PROTO)
    endif()
    if(dep_layer GREATER layer)
      message(FATAL_ERROR "${name} (layer ${layer}) may not depend on '${dep}' (layer ${dep_layer}).")
    endif()
    if(NOT room STREQUAL "tests" AND NOT dep_room STREQUAL room AND NOT dep_room MATCHES "^(common|proto)$")
      message(FATAL_ERROR "${name} in ${room}/ may not depend on '${dep}' in ${dep_room}/.")
    endif()
  endforeach()
  list(TRANSFORM ARG_DEPS PREPEND homeward_ OUTPUT_VARIABLE deps)
  get_target_property(kind ${target} TYPE)
  target_sources(${target} PRIVATE ${ARG_SOURCES})
  target_link_libraries(${target} PUBLIC homeward_flags ${deps} ${ARG_LINK} PRIVATE homeward_warnings)
  list(REMOVE_DUPLICATES headers)
  set_target_properties(${target} PROPERTIES HOMEWARD_LAYER ${layer} HOMEWARD_ROOM ${room} HOMEWARD_HEADERS "${headers}")
  _homeward_precompile(${target} ${headers})
  list(JOIN ARG_SOURCES "," sources)
  list(JOIN ARG_DEPS "," dep_names)
  file(RELATIVE_PATH directory "${CMAKE_SOURCE_DIR}" "${CMAKE_CURRENT_SOURCE_DIR}")
  set_property(GLOBAL APPEND_STRING PROPERTY HOMEWARD_GRAPH
               "${name}|${layer}|${directory}|${sources}|${dep_names}\n")
endfunction()

function(homeward_library)
  cmake_parse_arguments(ARG "GRPC" "NAME;LAYER" "SOURCES;DEPS;LINK" ${ARGN})
  add_library(homeward_${ARG_NAME} STATIC)
  set(grpc "")
  if(ARG_GRPC)
    set(grpc GRPC)
  endif()
  _homeward_add(homeward_${ARG_NAME} ${ARG_NAME} ${ARG_LAYER} SOURCES ${ARG_SOURCES}
                DEPS ${ARG_DEPS} LINK ${ARG_LINK} ${grpc})
  # A library with headers only still needs a language to link with.
  set_target_properties(homeward_${ARG_NAME} PROPERTIES LINKER_LANGUAGE CXX)
endfunction()

function(homeward_program)
  cmake_parse_arguments(ARG "" "NAME" "SOURCES;DEPS;LINK" ${ARGN})
  add_executable(${ARG_NAME})
  _homeward_add(${ARG_NAME} ${ARG_NAME} 4 SOURCES ${ARG_SOURCES} DEPS ${ARG_DEPS} LINK ${ARG_LINK})
  set_target_properties(${ARG_NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")
endfunction()

function(homeward_test)
  cmake_parse_arguments(ARG "" "NAME;TIMEOUT" "SOURCES;DEPS;LINK;LABELS" ${ARGN})
  if(NOT HOMEWARD_TESTS)
    return()
  endif()
  add_executable(${ARG_NAME})
  _homeward_add(${ARG_NAME} ${ARG_NAME} 5 SOURCES ${ARG_SOURCES} DEPS ${ARG_DEPS}
                LINK ${ARG_LINK} GTest::gtest GTest::gmock GTest::gtest_main)
  target_compile_definitions(${ARG_NAME} PRIVATE HOMEWARD_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  set_target_properties(${ARG_NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
  if(NOT ARG_LABELS)
    set(ARG_LABELS unit)
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  add_test(NAME ${ARG_NAME} COMMAND ${ARG_NAME})
  set_tests_properties(${ARG_NAME} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT})
endfunction()

# Checks what tests named before it was defined. Writes target|layer|directory|sources|deps lines for tests/lint.
function(homeward_write_graph)
  get_property(later GLOBAL PROPERTY HOMEWARD_LATER)
  foreach(edge ${later})
    string(REGEX MATCH "^(.*):(.*)$" edge "${edge}")
    set(room "")
    if(TARGET homeward_${CMAKE_MATCH_2})
      get_target_property(room homeward_${CMAKE_MATCH_2} HOMEWARD_ROOM)
    endif()
    if(NOT room STREQUAL "tests")
      message(FATAL_ERROR "${CMAKE_MATCH_1}: '${CMAKE_MATCH_2}' is not a library of tests/.")
    endif()
  endforeach()
  get_property(graph GLOBAL PROPERTY HOMEWARD_GRAPH)
  file(WRITE "${CMAKE_BINARY_DIR}/homeward_graph.txt" "${graph}")
endfunction()
