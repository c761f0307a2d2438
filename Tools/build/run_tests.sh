#!/bin/sh
# Usage: run_tests.sh BUILDDIR quick|all [PYTEST-ARGUMENT]...
# Run Lib/test/test_stackless and test_greenlet with pytest on the build as
# configured; for "all" then on the debug build: in random order, with every switch
# hard, and, those files in which the order does not matter, with tasklets chosen at
# random; and the tests of our tools.  The seed is printed; SEED=N repeats a run.
# (STACKLESS_DEBUG: see Stackless/sched/debug.c)
# The settings come from config.sh.
# shellcheck disable=SC1091,SC2154

set -u
. "$1/config.sh"
. "$srcdir/Tools/build/common.sh"
scope=$2
shift 2

requirements=$srcdir/Tools/build/requirements-test.txt
site=$builddir/pytest

# pytest gets a directory of its own, which the debug build uses too.  pip is
# the one that comes with CPython, run from its wheel.
install_pytest() {
    cmp -s "$requirements" "$site/installed.txt" && return
    say "installing pytest into $site"
    rm -rf "$site"
    for pip in "$builddir"/tree/Lib/ensurepip/_bundled/pip-*.whl; do
        PYTHONPATH=$pip "$topdir/python" -m pip install -q --disable-pip-version-check \
            --no-warn-script-location --root-user-action=ignore --target "$site" -r "$requirements" ||
            die "pytest could not be installed (pip's message is above): connect this machine to PyPI or set pip's index; meanwhile '$topdir/python -m test test_stackless test_greenlet' runs the suite without it"
    done
    cp "$requirements" "$site/installed.txt"
}

# run PYTHON STACKLESS_DEBUG PYTEST-ARGUMENT...: pytest's directory is appended
# to sys.path in this process only, so that tests which start interpreters see
# none of it.
run() {
    python=$1 mode=$2
    shift 2
    say "pytest $* (${python#"$topdir/"}${mode:+, STACKLESS_DEBUG=$mode})"
    STACKLESS_DEBUG=$mode "$python" -c '
import sys
sys.path.append(sys.argv.pop(1))
import pytest
sys.exit(pytest.main())' "$site" -p no:cacheprovider -o faulthandler_timeout=300 -q "$@" ||
        failed="$failed
    STACKLESS_DEBUG=$mode $python, pytest $*"
}

# run_suite PYTHON STACKLESS_DEBUG PYTEST-ARGUMENT...
run_suite() {
    python=$1 mode=$2
    shift 2
    run "$python" "$mode" --pyargs test.test_stackless test.test_greenlet "$@"
}

install_pytest
failed=
case $pass in
*"'--with-pydebug'"*) debug=$topdir/python ;;
*) debug=$builddir/debug/python ;;
esac
run_suite "$topdir/python" '' "$@"
if [ "$scope" = all ]; then
    seed=${SEED:-$$}
    run_suite "$debug" "random:$seed" "$@"
    run_suite "$debug" hard "$@"
    # Where the order does not matter.  (The whole suite passes with some seeds: elsewhere
    # a test of who is next that is not marked so (needs_order) would fail with others.)
    run "$debug" "shuffle:$seed" --pyargs test.test_stackless.test_model \
        test.test_stackless.test_inflight test.test_stackless.test_threads_stress "$@"
    # One at a time: the tools have modules of the same names.
    for file in "$srcdir"/Tools/*/test_*.py; do
        run "$topdir/python" '' "$file"
    done
fi
[ -z "$failed" ] || die "these test runs failed:$failed"
