#!/bin/sh
# Usage: variant.sh BUILDDIR debug|optimised|sanitized
# Configure and build another kind of interpreter with the options of BUILDDIR:
# BUILDDIR/debug/python, with --with-pydebug and without optimisations,
# BUILDDIR/optimised/python, with --enable-optimizations, or
# BUILDDIR/sanitized/python, a debug build with AddressSanitizer and
# UndefinedBehaviorSanitizer.  Nothing to do in a build that is of this kind itself.
# The settings come from config.sh.
# shellcheck disable=SC1091,SC2154

set -u
. "$1/config.sh"
. "$srcdir/Tools/build/common.sh"
kind=$2

case $kind in
debug) option=--with-pydebug ;;
optimised) option=--enable-optimizations ;;
sanitized)
    option=--with-address-sanitizer
    # The build runs what it has built, which does not free everything at its end.
    export ASAN_OPTIONS=detect_leaks=0
    ;;
*) die "variant.sh: there is no kind of build named '$kind'" ;;
esac
case $pass in *"'$option'"*) exit 0 ;; esac
directory=$builddir/$kind
# Configured before, for these options?
if ! cmp -s "$builddir/config.sh" "$directory/parent.sh"; then
    mkdir -p "$directory"
    # pass consists of quoted words; becomes the arguments.
    eval "set -- $pass"
    for arg; do
        shift
        case $kind,$arg in
        debug,--enable-optimizations* | debug,--with-lto* | debug,--enable-bolt* | optimised,--with-pydebug*) ;;
        sanitized,--enable-optimizations* | sanitized,--with-lto* | sanitized,--enable-bolt*) ;;
        *) set -- "$@" "$arg" ;;
        esac
    done
    [ "$kind" != sanitized ] || set -- "$@" --with-pydebug --with-undefined-behavior-sanitizer
    (cd "$directory" && PYTHON_FOR_REGEN=$hostpython "$srcdir/configure" "--upstream-version=$version" \
        "--cache-dir=$cache" "$@" "$option") || exit 1
    cp "$builddir/config.sh" "$directory/parent.sh"
fi
cd "$directory" && exec "${MAKE:-make}" --no-print-directory "JOBS=${JOBS:-2}"
