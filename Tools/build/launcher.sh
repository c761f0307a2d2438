#!/bin/sh
# Usage: launcher.sh BUILDDIR
# Make ./python and ./python-config where configure was run.
# The settings come from config.sh.
# shellcheck disable=SC1091,SC2154

set -u
. "$1/config.sh"
. "$srcdir/Tools/build/common.sh"

tree=$builddir/tree
python=$topdir/python
# Where names don't distinguish case, python is our directory Python.
[ ! -d "$python" ] || python=$python.exe
make_launcher "$tree" "$python"

# Upstream's python-config.py knows a build tree's headers, but not where its
# libpython is.
library=-L$tree
[ -z "$(library_path "$tree")" ] || library="$library -Wl,-rpath,$tree"
write_program "$topdir/python-config" <<EOT
#!/bin/sh
# What a C compiler needs to use this build where it is, not installed.
for option; do
    case \$option in --ldflags | --libs) printf '%s ' "$library" ;; esac
done
exec "$python" $tree/python-config.py "\$@"
EOT
