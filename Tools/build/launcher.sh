#!/bin/sh
# Usage: launcher.sh BUILDDIR
# Make ./python where configure was run.
# The settings come from config.sh.
# shellcheck disable=SC1091,SC2154

set -u
. "$1/config.sh"
. "$srcdir/Tools/build/common.sh"

link=$topdir/python
# Where names don't distinguish case, python is our directory Python.
[ ! -d "$link" ] || link=$link.exe
make_launcher "$builddir/tree" "$link"
