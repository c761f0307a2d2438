#!/bin/sh
# Usage: run_tests.sh BUILDDIR quick|all [PYTEST-ARGUMENT]...
# Run Lib/test/test_stackless with pytest on the build as configured; for "all"
# then on the debug build, softly and with tasklets chosen in random order, and
# the tests of our tools.  The seed is printed; SEED=N repeats a run.
# The settings come from config.sh.
# shellcheck disable=SC1091,SC2154

set -u
. "$1/config.sh"
. "$srcdir/Tools/build/common.sh"
scope=$2
shift 2

requirements=$srcdir/Tools/build/requirements-test.txt
venv=$builddir/venv

# pytest gets an environment of its own; the debug build uses it too.
install_pytest() {
    cmp -s "$requirements" "$venv/installed.txt" && return
    say "installing pytest into $venv"
    rm -rf "$venv"
    "$topdir/python" -m venv "$venv" || die "could not make a virtual environment in $venv: its message is above"
    "$venv/bin/python" -m pip install -q --disable-pip-version-check -r "$requirements" ||
        die "pytest could not be installed from PyPI: connect this machine to the network (or set pip's index), then try again; meanwhile '$topdir/python -m unittest test.test_stackless' runs the tests without it"
    cp "$requirements" "$venv/installed.txt"
}

# run PYTHON STACKLESS_DEBUG PYTEST-ARGUMENT...: pytest's directory is appended
# to sys.path in this process only, so that tests which start interpreters see
# none of it.
run() {
    python=$1 mode=$2
    shift 2
    say "pytest $* (${python#"$topdir/"}${mode:+, STACKLESS_DEBUG=$mode})"
    STACKLESS_DEBUG=$mode "$python" -c '
import glob, sys
sys.path += glob.glob(sys.argv.pop(1) + "/lib/python3*/site-packages")
import pytest
sys.exit(pytest.main())' "$venv" -p no:cacheprovider -q "$@" ||
        failed="$failed
    STACKLESS_DEBUG=$mode $python, pytest $*"
}

# run_suite PYTHON STACKLESS_DEBUG PYTEST-ARGUMENT...
run_suite() {
    python=$1 mode=$2
    shift 2
    run "$python" "$mode" --pyargs test.test_stackless "$@"
}

install_pytest
failed=
case $pass in
*"'--with-pydebug'"*) debug=$topdir/python ;;
*) debug=$builddir/debug/python ;;
esac
run_suite "$topdir/python" '' "$@"
if [ "$scope" = all ]; then
    [ "$debug" = "$topdir/python" ] || run_suite "$debug" '' "$@"
    run_suite "$debug" "random:${SEED:-$$}" "$@"
    run "$topdir/python" '' "$srcdir"/Tools/*/test_*.py "$@"
fi
[ -z "$failed" ] || die "these test runs failed:$failed"
