#!/bin/sh
# Usage: debug.sh BUILDDIR
# Configure and build the debug interpreter, BUILDDIR/debug/python, with the
# options of BUILDDIR, optimisations apart.  Nothing to do in a build that is
# a debug build itself.
# The settings come from config.sh.
# shellcheck disable=SC1091,SC2154

set -u
. "$1/config.sh"
. "$srcdir/Tools/build/common.sh"

case $pass in *"'--with-pydebug'"*) exit 0 ;; esac
debugdir=$builddir/debug
# Configured before, for these options?
if ! cmp -s "$builddir/config.sh" "$debugdir/parent.sh"; then
    mkdir -p "$debugdir"
    # pass consists of quoted words; becomes the arguments.
    eval "set -- $pass"
    for arg; do
        shift
        case $arg in
        --enable-optimizations* | --with-lto* | --enable-bolt*) ;;
        *) set -- "$@" "$arg" ;;
        esac
    done
    (cd "$debugdir" && PYTHON_FOR_REGEN=$hostpython "$srcdir/configure" "--upstream-version=$version" \
        "--cache-dir=$cache" "$@" --with-pydebug) || exit 1
    cp "$builddir/config.sh" "$debugdir/parent.sh"
fi
cd "$debugdir" && exec "${MAKE:-make}" --no-print-directory "JOBS=${JOBS:-2}"
