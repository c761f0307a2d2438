#!/bin/sh
# Usage: run_tests.sh BUILDDIR quick|all [PYTEST-ARGUMENT]...
# Run Lib/test/test_stackless and test_greenlet with pytest (installed if need be):
# run_suites.py says on which builds and in which ways, and on what else.  JOBS=N
# processes at a time; SEED=N repeats a run.
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

install_pytest
case $pass in
*"'--with-pydebug'"*) debug=$topdir/python ;;
*) debug=$builddir/debug/python ;;
esac
[ "$scope" = all ] || debug=
seed=${SEED:-$$}
say "seed $seed (to repeat a run: SEED=$seed)"
exec "$topdir/python" -B "$srcdir/Tools/build/run_suites.py" --python "$topdir/python" ${debug:+"--debug=$debug"} \
    --site "$site" --jobs "${JOBS:-2}" --seed "$seed" "$@"
