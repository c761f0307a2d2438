#!/bin/sh
# Usage: optimised.sh BUILDDIR
# Build this interpreter and the stock one with --enable-optimizations, unless
# that is done (it takes about as long as the whole test suite), and print where
# the two are, a line each.  Everything else goes to standard error.
# The settings come from config.sh.
# shellcheck disable=SC1091,SC2154

set -u
. "$1/config.sh"
. "$srcdir/Tools/build/common.sh"

sh "$srcdir/Tools/build/variant.sh" "$builddir" optimised >&2 ||
    die "the optimised build failed: see above"
# A build of this kind is not built again beside itself.
case $pass in *"'--enable-optimizations'"*) ;; *) . "$builddir/optimised/config.sh" ;; esac
sh "$srcdir/Tools/build/stock.sh" "$builddir" >&2 || exit 1
printf '%s\n' "$topdir/python" "$stockdir/python"
