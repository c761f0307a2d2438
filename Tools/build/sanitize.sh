#!/bin/sh
# Usage: sanitize.sh BUILDDIR [PYTEST-ARGUMENT]...
# Run our test suites on a debug build with AddressSanitizer and UndefinedBehaviorSanitizer.
# Whatever one of them reports ends the process that it is about, and so fails its test.
# Not asked for: leaks (CPython keeps memory at its end; our leak tests count references).
# The settings come from config.sh.
# shellcheck disable=SC1091,SC2154

set -u
. "$1/config.sh"
. "$srcdir/Tools/build/common.sh"
shift

sh "$srcdir/Tools/build/variant.sh" "$builddir" sanitized || exit 1
# A request for more memory than there is fails, as without the sanitizer.  Signals are left
# to faulthandler.
ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0:allocator_may_return_null=1:handle_segv=0
UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export ASAN_OPTIONS UBSAN_OPTIONS
exec sh "$srcdir/Tools/build/run_tests.sh" "$builddir/sanitized" quick "$@"
