#!/bin/sh
# Usage: check_release.sh BUILDDIR
# For a release that is known but was never tested, once: say what could be
# checked without a build, and what in it is not as in the tested ones.  By now
# its tarball is verified, and the patches are applied without fuzz.
#
# Run by configure, and by make when the code is generated: where there is no
# Python 3.10 or newer, the stock interpreter is there by then.
# The settings come from config.sh.
# shellcheck disable=SC1091,SC2154

set -u
. "$1/config.sh"
. "$srcdir/Tools/build/common.sh"

stamp=$builddir/merged/release-checked
{ is_untested "$version" && [ ! -f "$stamp" ]; } || exit 0
python=${hostpython:-$stockdir/python}
if found=$("$python" -B "$srcdir/Tools/check_overlay/check_overlay.py" --repo "$srcdir" \
    --cache "$cache" --release "$version"); then
    verdict='opcodes, .pyc magic number, struct texts and the definitions of upstream that we rely on are as in the tested releases'
else
    printf '%s\n' "$found" | grep '^PROBLEM' >&2 ||
        die "Python $version could not be compared with the tested releases: ${found:-$python failed}"
    warn "what is not as in the tested releases is named above: read those changes before you trust this build"
    verdict='opcodes, .pyc magic number, struct texts and the definitions of upstream that we rely on were compared: see the warning'
fi
say "Python $version is known but was not tested with this overlay.  Checked: its tarball has the pinned SHA-256; all patches apply without fuzz; $verdict.  Not checked: that it works (make test)"
touch "$stamp"
