#!/bin/sh
# Usage: regen_cases.sh BUILDDIR
# Run upstream's cases generators in the build tree with our bytecode
# overrides (Python/stackless_bytecodes.c) as a second input file, when the
# inputs changed.  Upstream's own make never runs them (its regen-cases target
# is manual), so what we write stays.
#
# Needs Python 3.10 or newer; where there is none, the stock interpreter of
# this release is built first and used.
# The settings come from config.sh.
# shellcheck disable=SC1091,SC2154

set -u
. "$1/config.sh"
. "$srcdir/Tools/build/common.sh"

tree=$builddir/tree
# Generator and what it makes, as in regen-cases of upstream's Makefile.
generators='
opcode_id_generator       Include/opcode_ids.h
target_generator          Python/opcode_targets.h
uop_id_generator          Include/internal/pycore_uop_ids.h
py_metadata_generator     Lib/_opcode_metadata.py
tier1_generator           Python/generated_cases.c.h
tier2_generator           Python/executor_cases.c.h
optimizer_generator       Python/optimizer_cases.c.h
opcode_metadata_generator Include/internal/pycore_opcode_metadata.h
uop_metadata_generator    Include/internal/pycore_uop_metadata.h
'

# Have we any input of the generators?
have_overrides() {
    grep -q -e '^Python/.*_bytecodes\.c$' -e '^Python/.*bytecodes\.c\.patch$' \
        -e '^Tools/cases_generator/' "$builddir/merged/list"
}

# Copy the files of generators from upstream: there are no overrides any more.
restore() {
    printf '%s' "$generators" | while read -r _ output; do
        [ -n "$output" ] || continue
        cp "$pristine/$output" "$tree/$output.new"
        if update_file "$tree/$output.new" "$tree/$output"; then echo "  RESTORE $output"; fi
    done
}

generate() {
    generator=Tools/cases_generator/$1.py
    case $1 in
    # Upstream's command line has no way to give this one two base files.
    optimizer_generator) generator=$srcdir/Tools/build/optimizer_cases.py ;;
    esac
    # shellcheck disable=SC2086
    (cd "$tree" && "$python" -E "$generator" -o "$2.new" Python/bytecodes.c $overrides) ||
        die "the bytecode overrides ($overrides) are not accepted by $1.py: its message is above"
    if update_file "$tree/$2.new" "$tree/$2"; then echo "  REGEN   $2"; fi
}

stamp=$builddir/merged/regen.sum
if ! have_overrides; then
    [ ! -f "$stamp" ] || restore
    rm -f "$stamp"
    exit 0
fi
sum=$(cd "$tree" && cat Python/*bytecodes.c Tools/cases_generator/*.py "$srcdir/Tools/build/optimizer_cases.py" | sha256)
[ "$sum" != "$(cat "$stamp" 2>/dev/null)" ] || exit 0
python=$hostpython
if [ -z "$python" ]; then
    sh "$srcdir/Tools/build/stock.sh" "$builddir" || exit 1
    python=$stockdir/python
fi
overrides=$(sed -n '/^Python\/.*_bytecodes\.c$/p' "$builddir/merged/list")
rm -f "$stamp"
printf '%s' "$generators" >"$builddir/merged/generators"
while read -r name output; do
    [ -z "$name" ] || generate "$name" "$output"
done <"$builddir/merged/generators"
echo "$sum" >"$stamp"
