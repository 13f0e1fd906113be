# Test programs that run under the preloaded library: how they are compiled, and run once per allocator.

find_package(Python3 3.9 REQUIRED COMPONENTS Interpreter)

set(MEMBUDGET_TEST_SUPPORT ${CMAKE_CURRENT_LIST_DIR})
set(MEMBUDGET_TEST_RUNNER ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/run_preloaded.py)

# The allocators that every test runs on. The last two are given by their paths, as a user gives one that
# membudget has no name for; "toy" stands for libtest_toy_allocator.so.
find_library(MEMBUDGET_TEST_ALLOCATOR_PATH NAMES libtcmalloc_minimal.so.4 REQUIRED)
set(MEMBUDGET_TEST_ALLOCATORS ptmalloc jemalloc mimalloc tcmalloc ${MEMBUDGET_TEST_ALLOCATOR_PATH} toy)

# membudget_test_program(NAME SOURCE...): a program as the compiler would not optimise it: calls of the
# malloc family stay calls.
function(membudget_test_program name)
  add_executable(${name} ${ARGN})
  target_include_directories(${name} PRIVATE ${MEMBUDGET_TEST_SUPPORT} ${MEMBUDGET_TEST_SUPPORT}/../../control/include)
  target_compile_options(${name} PRIVATE -O1 -fno-builtin -Wno-alloc-size-larger-than -Wno-use-after-free)
  target_compile_definitions(${name} PRIVATE _GNU_SOURCE)
  find_package(Threads REQUIRED)
  target_link_libraries(${name} PRIVATE membudget_warnings Threads::Threads ${CMAKE_DL_LIBS})
endfunction()

# membudget_preloaded_test(NAME LABEL PROGRAM [PLAIN] [SERIAL] [ALLOCATORS ...] [ENV K=V...]
#                          [RUNNER ARGUMENT...] [ARGUMENTS ...] [TIMEOUT S])
# One test per allocator, LABEL.NAME.ALLOCATOR. PLAIN adds the same on glibc without the library, which
# proves that what the test expects is what glibc does. SERIAL: nothing else runs beside it.
function(membudget_preloaded_test name label program)
  cmake_parse_arguments(PARSE_ARGV 3 arg "PLAIN;SERIAL" "TIMEOUT" "ALLOCATORS;ENV;RUNNER;ARGUMENTS")
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 240)
  endif()
  if(NOT arg_ALLOCATORS)
    set(arg_ALLOCATORS ${MEMBUDGET_TEST_ALLOCATORS})
  endif()
  set(environment ${arg_ENV})
  list(TRANSFORM environment PREPEND --env=)
  if(arg_PLAIN)
    list(PREPEND arg_ALLOCATORS plain)
  endif()
  foreach(allocator IN LISTS arg_ALLOCATORS)
    set(variant ${allocator})
    if(allocator STREQUAL "toy")
      set(allocator $<TARGET_FILE:test_toy_allocator>)
    endif()
    set(preload --library=$<TARGET_FILE:membudget> --allocator=${allocator})
    if(allocator STREQUAL "plain")
      set(preload)
    elseif(IS_ABSOLUTE "${allocator}")
      set(variant path)
    endif()
    set(test ${label}.${name}.${variant})
    add_test(NAME ${test}
             COMMAND ${MEMBUDGET_TEST_RUNNER} ${preload} --timeout=${arg_TIMEOUT} ${environment} ${arg_RUNNER}
                     -- ${CMAKE_CROSSCOMPILING_EMULATOR} $<TARGET_FILE:${program}> ${arg_ARGUMENTS})
    math(EXPR beyond "${arg_TIMEOUT} + 20")
    set_tests_properties(${test} PROPERTIES LABELS ${label} TIMEOUT ${beyond})
    if(arg_SERIAL)
      set_tests_properties(${test} PROPERTIES RUN_SERIAL ON)
    endif()
  endforeach()
endfunction()
