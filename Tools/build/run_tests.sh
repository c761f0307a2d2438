#!/bin/sh
# Usage: run_tests.sh BUILDDIR [PYTEST-ARGUMENT]...
# Run Lib/test/test_stackless with pytest: on the build as configured, then on
# the debug build, softly and with tasklets chosen in random order.  The seed
# is printed; SEED=N repeats a run.
# The settings come from config.sh.
# shellcheck disable=SC1091,SC2154

set -u
. "$1/config.sh"
. "$srcdir/Tools/build/common.sh"
shift

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

# run NAME PYTHON STACKLESS_DEBUG: pytest's directory is appended to sys.path
# in this process only, so that tests which start interpreters see none of it.
run() {
    say "test_stackless, $1"
    mode=$3
    shift
    python=$1
    shift 2
    STACKLESS_DEBUG=$mode "$python" -c '
import glob, sys
sys.path += glob.glob(sys.argv.pop(1) + "/lib/python3*/site-packages")
import pytest
sys.exit(pytest.main())' "$venv" -p no:cacheprovider -q --pyargs test.test_stackless "$@" || failed="$failed
  $python, STACKLESS_DEBUG='$mode'"
}

install_pytest
failed=
seed=${SEED:-$$}
case $pass in
*"'--with-pydebug'"*) debug=$topdir/python ;;
*)
    debug=$builddir/debug/python
    run 'as configured' "$topdir/python" '' "$@"
    ;;
esac
run 'debug build' "$debug" '' "$@"
run "debug build, random order, SEED=$seed" "$debug" "random:$seed" "$@"
[ -z "$failed" ] || die "test_stackless failed with:$failed"
