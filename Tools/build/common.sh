# shellcheck shell=sh disable=SC2154
# Functions shared by configure and the scripts in Tools/build.
# Sourced, never run.  POSIX sh; every failure ends in die(): one sentence
# that says what is wrong and what to do.

say() { printf '%s\n' "stackless: $*"; }

warn() { printf '%s\n' "stackless: warning: $*" >&2; }

die() {
    printf '%s\n' "stackless: error: $*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# Print $1 quoted so that eval gives it back as one word.
quote() {
    printf "'"
    printf '%s' "$1" | sed "s/'/'\\\\''/g"
    printf "'"
}

if have sha256sum; then sha256_tool=sha256sum; else sha256_tool='shasum -a 256'; fi

# SHA-256 of standard input.
sha256() { $sha256_tool | cut -d' ' -f1; }

# One hash for the directory $1: names and contents of all files, in a fixed
# order.  Byte code that some Python left behind does not count.
tree_sha256() {
    (
        cd "$1" || exit 1
        # A command with its options.
        # shellcheck disable=SC2086
        find . -type f ! -name '*.pyc' | LC_ALL=C sort | tr '\n' '\0' |
            xargs -0 $sha256_tool | sha256
    )
}

# Column $2 (2: tarball, 3: tree) of release $1 in the table of pinned ones.
pinned() { awk -v v="$1" -v c="$2" '$1 == v { print $c }' "$srcdir/Tools/build/upstream.txt"; }

pinned_versions() { awk '/^[0-9]/ { print $1 }' "$srcdir/Tools/build/upstream.txt"; }

# The same in words: "3.13.15 or 3.13.5".
pinned_list() { pinned_versions | awk '{ printf "%s%s", sep, $0; sep = " or " }'; }

# Move $1 over $2 if they differ, so that time stamps change only with contents.
# True when something changed.
update_file() {
    if cmp -s "$1" "$2"; then
        rm -f "$1"
        return 1
    fi
    mv -f "$1" "$2"
}

# The interpreter in build tree $1 gets a name outside: $2.  A link will do,
# except for a shared libpython, which the loader has to be told about.
make_launcher() {
    exe=$1/python
    [ -f "$exe" ] || exe=$1/python.exe
    runshared=$(sed -n 's/^RUNSHARED=[[:space:]]*//p' "$1/Makefile")
    if [ -z "$runshared" ]; then
        ln -sf "$exe" "$2"
    else
        rm -f "$2"
        printf '#!/bin/sh\n%s exec %s "$@"\n' "$runshared" "$exe" >"$2"
        chmod +x "$2"
    fi
}
