#!/bin/sh
# Usage: valgrind.sh BUILDDIR [TEST]...
# Run a chosen set of our tests (default: those that move frames and C stacks about most)
# under valgrind's memcheck.  Exit status: 0; 1 if a test failed or valgrind found an error;
# 77 if there is no valgrind.
# The settings come from config.sh.
# shellcheck disable=SC1091,SC2154

set -u
. "$1/config.sh"
. "$srcdir/Tools/build/common.sh"
shift

command -v valgrind >/dev/null || {
    say "valgrind is not installed: nothing was checked (it is a package of that name)"
    exit 77
}
[ $# -gt 0 ] || set -- test.test_stackless.test_channel test.test_stackless.test_hard \
    test.test_greenlet.test_switch test.test_greenlet.test_c_code test.test_greenlet.test_lifetime
say "valgrind: $*"
# The library path, if there is one, is NAME=VALUE.
# shellcheck disable=SC2046
exec env PYTHONMALLOC=malloc $(library_path "$builddir/tree") valgrind -q --error-exitcode=1 \
    --suppressions="$builddir/tree/Misc/valgrind-python.supp" \
    --suppressions="$srcdir/Tools/build/valgrind.supp" \
    "$(tree_python "$builddir/tree")" -m unittest "$@"
