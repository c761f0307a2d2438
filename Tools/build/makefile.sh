#!/bin/sh
# Usage: makefile.sh BUILDDIR
# Make BUILDDIR's Makefile from the template Makefile.pre.in.
# The settings come from config.sh.
# shellcheck disable=SC1091,SC2154

set -u
. "$1/config.sh"
. "$srcdir/Tools/build/common.sh"

# Paths hold no character special to sed: configure saw to that.
sed -e "s|@srcdir@|$srcdir|g" -e "s|@topdir@|$topdir|g" -e "s|@builddir@|$builddir|g" \
    -e "s|@version@|$version|g" -e "s|@stockdir@|$stockdir|g" -e "s|@hostpython@|$hostpython|g" \
    -e "s|@cache@|$cache|g" \
    "$srcdir/Makefile.pre.in" >"$topdir/Makefile" || die "cannot write $topdir/Makefile"
