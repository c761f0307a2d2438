#!/bin/sh
# Usage: merge.sh BUILDDIR
# Bring BUILDDIR/tree up to date: upstream's files, with our files copied over
# them and our patches applied.  Run by configure and by every make.
#
# Compares contents, never time stamps, and writes only what differs: so make
# rebuilds just what depends on an edit, and an edit undone (a patch or file
# removed) is undone in the tree too.  BUILDDIR/merged remembers what is ours.
# The settings come from config.sh.
# shellcheck disable=SC1091,SC2154

set -u
. "$1/config.sh"
. "$srcdir/Tools/build/common.sh"

tree=$builddir/tree
merged=$builddir/merged

# Our files, relative to the source root.  Tools/build is the build itself.
list_overlay() {
    (cd "$srcdir" && find Stackless Python Objects Include Modules Lib Tools \
        \( -path Tools/build -o -name __pycache__ \) -prune -o -type f \
        ! -name '*.py[co]' ! -name '*~' ! -name '*.orig' ! -name '*.rej' ! -name '*.sw?' ! -name '.*' \
        -print | LC_ALL=C sort)
}

note() { printf '  %-7s %s\n' "$1" "$2"; }

# Copy our file $1.
merge_file() {
    cmp -s "$srcdir/$1" "$tree/$1" && return
    [ ! -e "$pristine/$1" ] ||
        die "$1 would replace a file of CPython: put the change into $1.patch instead"
    mkdir -p "$(dirname "$tree/$1")"
    { cp "$srcdir/$1" "$tree/$1.new" && mv -f "$tree/$1.new" "$tree/$1"; } || die "cannot write $tree/$1"
    note COPY "$1"
}

# Apply the patch $1 to upstream's file.  No fuzz: with it, hunks have been
# seen to land in the wrong place.
merge_patch() {
    file=${1%.patch}
    cmp -s "$srcdir/$1" "$merged/$1" && return
    [ -f "$pristine/$file" ] || die "$1: CPython $version has no $file to patch"
    mkdir -p "$(dirname "$merged/$1")"
    rm -f "$merged/$file.rej"
    cp -p "$pristine/$file" "$tree/$file.new"
    if ! patch -s -F0 -o "$merged/out" -r "$merged/$file.rej" "$pristine/$file" <"$srcdir/$1" >"$merged/log" 2>&1; then
        rm -f "$tree/$file.new"
        cat "$merged/log" >&2
        die "$1 does not apply to CPython $version without fuzz: adapt it to $pristine/$file (rejected hunks: $merged/$file.rej) or take another release with --upstream-version"
    fi
    # Written through the copy, which has upstream's permissions.
    cat "$merged/out" >"$tree/$file.new"
    rm -f "$merged/out"
    if update_file "$tree/$file.new" "$tree/$file"; then note PATCH "$file"; fi
    cp "$srcdir/$1" "$merged/$1"
}

# Give $1 back to upstream, or remove it if it was only ours.
unmerge() {
    case $1 in
    *.patch)
        # One that never applied left nothing behind.
        [ -f "$merged/$1" ] || return 0
        rm -f "$merged/$1"
        cp "$pristine/${1%.patch}" "$tree/${1%.patch}"
        ;;
    *)
        # One that would have replaced upstream's file was refused.
        [ ! -e "$pristine/$1" ] || return 0
        rm -f "$tree/$1"
        ;;
    esac
    note REMOVE "$1"
}

# Upstream's modules X.c that have a Modules/X_soft.c: that one is compiled, and
# includes X.c.  makesetup takes the first line of a module that it meets, and
# that of Modules/Setup.local comes before upstream's.
list_soft_modules() {
    sed -n 's|^Modules/\(.*\)_soft\.c$|\1|p' "$merged/list.new" | while read -r name; do
        sed -n "s/^\(@[A-Z_]*@\)\{0,1\}\([A-Za-z_]* \)$name\.c/\2${name}_soft.c/p" "$tree/Modules/Setup.stdlib.in"
    done
}

# Modules/Setup.local of the tree: one built-in module of all our C files, and
# a shared one of each Modules/_test*.c.
write_setup_local() {
    {
        echo "# Written by Tools/build/merge.sh from the list of our C files."
        echo '*static*'
        sources=$(sed -n -e '/_bytecodes\.c$/d' -e '/^Modules\/_test/d' -e '/_soft\.c$/d' -e '/_file\.c$/d' \
            -e 's|^Modules/\(.*\.c\)$|\1|p' -e 's|^\(Stackless/.*\.c\)$|../\1|p' "$merged/list.new" | tr '\n' ' ')
        [ -z "$sources" ] || echo "_stackless $sources"
        # Further built-in modules among these files need just their name.
        sed -n -e '/^Modules\/_test/d' -e '/_\(soft\|file\)\.c$/d' -e '/^Modules\/_[^/]*\.c$/p' "$merged/list.new" | while read -r file; do
            sed -n 's/^\(PyMODINIT_FUNC \)\{0,1\}PyInit_\([A-Za-z0-9_]*\)(.*/\2/p' "$srcdir/$file"
        done | grep -v '^_stackless$'
        echo '*shared*'
        sed -n 's|^Modules/\(_test[^/]*\)\.c$|\1 \1.c|p' "$merged/list.new"
        # Shared or static as upstream's configure has it, once that has run.
        grep -s '^\*static\*$' "$tree/Modules/Setup.stdlib"
        list_soft_modules
    } >"$tree/Modules/Setup.local.new"
    update_file "$tree/Modules/Setup.local.new" "$tree/Modules/Setup.local" && note WRITE Modules/Setup.local
}

# Rules for upstream's make, read through $MAKEFILES (see Makefile.pre.in):
# header dependencies, which upstream keeps in fixed lists, and directories to
# install, likewise.  And X.so of Modules/X_file.c, which makesetup would take
# for the built-in module X.
write_rules() {
    {
        sh "$srcdir/Tools/build/header_deps.sh" "$tree" "$merged/list.new"
        dirs=$(sed -n 's|^Lib/\(.*\)/[^/]*$|\1|p' "$merged/list.new" | sort -u | while read -r dir; do
            [ -d "$pristine/Lib/$dir" ] || echo "$dir"
        done)
        for dir in $dirs; do
            case $dir in
            test/*) echo "libinstall: TESTSUBDIRS += $dir" ;;
            *) echo "libinstall: LIBSUBDIRS += $dir" ;;
            esac
        done
        sed -n 's|^Modules/\(.*\)_file\.c$|\1|p' "$merged/list.new" | while read -r name; do
            # shellcheck disable=SC2016
            printf '%s\n' "sharedmods sharedinstall: SHAREDMODS += Modules/$name.so" "sharedmods: Modules/$name.so" \
                "Modules/$name.so: Modules/${name}_file.c" \
                "	\$(BLDSHARED) \$(PY_STDMODULE_CFLAGS) \$(CCSHARED) \$< -o \$@"
        done
        sed -n 's|^Include/\(.*\)/[^/]*\.h$|\1|p' "$merged/list.new" | sort -u | while read -r dir; do
            [ ! -d "$pristine/Include/$dir" ] || continue
            echo "inclinstall: stackless-inclinstall-$dir"
            echo "stackless-inclinstall-$dir:"
            # shellcheck disable=SC2016
            printf '\t%s\n' \
                '$(INSTALL) -d -m $(DIRMODE) $(DESTDIR)$(INCLUDEPY)/'"$dir" \
                '$(INSTALL_DATA) $(srcdir)/Include/'"$dir"'/*.h $(DESTDIR)$(INCLUDEPY)/'"$dir"
        done
    } >"$merged/rules.mk.new"
    mv "$merged/rules.mk.new" "$merged/rules.mk"
}

[ -d "$pristine" ] || die "CPython's source is no longer in $pristine: run configure again"
if [ ! -d "$tree" ]; then
    rm -rf "$tree.new" "$merged"
    { cp -Rp "$pristine" "$tree.new" && mv "$tree.new" "$tree"; } || die "cannot copy CPython's source to $tree: is the disk full?"
fi
mkdir -p "$merged"
touch "$merged/list"
list_overlay >"$merged/list.new"

LC_ALL=C comm -23 "$merged/list" "$merged/list.new" | while read -r file; do unmerge "$file"; done || exit 1
# From here on all of them may be in the tree, even if a patch fails below.
cp "$merged/list.new" "$merged/list"
while read -r file; do
    case $file in
    *.patch) merge_patch "$file" ;;
    *) merge_file "$file" ;;
    esac
done <"$merged/list.new"
write_setup_local
write_rules
rm "$merged/list.new"
