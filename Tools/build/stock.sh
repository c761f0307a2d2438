#!/bin/sh
# Usage: stock.sh BUILDDIR
# Build the unmodified CPython of BUILDDIR's release with the same options, in
# the cache: made once, used for comparisons by all builds with these options.
# The interpreter is then $stockdir/python.
# The settings come from config.sh.
# shellcheck disable=SC1091,SC2154

set -u
. "$1/config.sh"
. "$srcdir/Tools/build/common.sh"

if [ -f "$stockdir/done" ]; then
    make_launcher "$stockdir/tree" "$stockdir/python"
    exit 0
fi

# Two builds may want it at the same time.  mkdir is the lock; it holds the
# owner's process number, so that a killed owner does not block for ever.
lock=$stockdir.lock
until mkdir "$lock" 2>/dev/null; do
    owner=$(cat "$lock/pid" 2>/dev/null || sleep 2; cat "$lock/pid" 2>/dev/null)
    if [ -z "$owner" ] || ! kill -0 "$owner" 2>/dev/null; then
        rm -rf "$lock"
    else
        sleep 2
    fi
done
echo $$ >"$lock/pid"
trap 'rm -rf "$lock"' EXIT
trap 'exit 1' HUP INT TERM
[ ! -f "$stockdir/done" ] || exit 0

say "building the stock CPython $version for comparison in $stockdir (once; log: $stockdir/log)"
rm -rf "$stockdir"
mkdir -p "$stockdir"
cp -Rp "$pristine" "$stockdir/tree" || die "cannot copy CPython's source to $stockdir: is the disk full?"
# pass consists of quoted words.
# Not part of the make that called us: its flags and jobs are not ours.
unset MAKEFLAGS MAKELEVEL MFLAGS
(cd "$stockdir/tree" && eval "./configure $pass" && ${MAKE:-make} "-j${JOBS:-2}") >"$stockdir/log" 2>&1 ||
    die "the stock CPython did not build: see the end of $stockdir/log"
make_launcher "$stockdir/tree" "$stockdir/python"
echo "$version" >"$stockdir/done"
