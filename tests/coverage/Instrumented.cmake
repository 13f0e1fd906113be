# Which lines run, by clang's source-based coverage in its continuous mode: the counters themselves lie in a file that all
# processes map. So nothing has to happen at exit: children, those that are killed and those that end by _exit() count.

set(profiles ${CMAKE_BINARY_DIR}/profiles)
set(MEMBUDGET_COVERAGE_COMPILE -fprofile-instr-generate=${profiles}/%m%c.profraw -fcoverage-mapping
    "SHELL:-mllvm -runtime-counter-relocation")
set(MEMBUDGET_COVERAGE_LINK -fprofile-instr-generate)

# Targets made between the two are instrumented; the tests' programs are not.
macro(membudget_instrumented_from_here)
  add_compile_options(${MEMBUDGET_COVERAGE_COMPILE})
  add_link_options(${MEMBUDGET_COVERAGE_LINK})
endmacro()

macro(membudget_instrumented_to_here)
  set_directory_properties(PROPERTIES COMPILE_OPTIONS "" LINK_OPTIONS "")
  target_sources(membudget PRIVATE tests/coverage/early_counts.c)
endmacro()
