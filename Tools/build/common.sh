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

# Column $2 (2: tarball, 3: tree; - if it is known but was not tested) of release
# $1 in the table of pinned ones.
pinned() { awk -v v="$1" -v c="$2" '$1 == v { print $c }' "$srcdir/Tools/build/upstream.txt"; }

# Those that are tested; those that are only known.
pinned_versions() { awk '/^[0-9]/ && $3 != "-" { print $1 }' "$srcdir/Tools/build/upstream.txt"; }
untested_versions() { awk '/^[0-9]/ && $3 == "-" { print $1 }' "$srcdir/Tools/build/upstream.txt"; }

is_untested() { [ "$(pinned "$1" 3)" = - ]; }

# The lines of standard input in words: "3.13.15 or 3.13.5".
in_words() { awk '{ printf "%s%s", sep, $0; sep = " or " }'; }
pinned_list() { pinned_versions | in_words; }
# "; or, known but not tested, 3.13.18", or nothing.
untested_list() {
    untested=$(untested_versions | in_words)
    printf '%s' "${untested:+; or, known but not tested, $untested}"
}

# Move $1 over $2 if they differ, so that time stamps change only with contents.
# True when something changed.
update_file() {
    if cmp -s "$1" "$2"; then
        rm -f "$1"
        return 1
    fi
    mv -f "$1" "$2"
}

# Write standard input to the program $1, if that is not what it is already.
write_program() {
    cat >"$1.new"
    chmod +x "$1.new"
    update_file "$1.new" "$1" || true
}

# The interpreter in build tree $1.
tree_python() { if [ -f "$1/python.exe" ]; then echo "$1/python.exe"; else echo "$1/python"; fi; }

# What a shared libpython in build tree $1 needs to be found: NAME=VALUE, or nothing.
library_path() { sed -n 's/^RUNSHARED=[[:space:]]*//p' "$1/Makefile"; }

# The interpreter in build tree $1 gets a name outside: $2.  No link: all that
# Python derives from sys.executable, as the home of a virtual environment, has
# to be in the tree.
make_launcher() {
    exe=$(tree_python "$1")
    run="exec $exe"
    library=$(library_path "$1")
    [ -z "$library" ] || run="$library $run"
    [ ! -h "$2" ] || rm -f "$2"
    write_program "$2" <<EOT
#!/bin/sh
# Runs the interpreter in its build tree.  Debuggers want that itself: $exe
case \${LD_PRELOAD-} in
*vgpreload_*) echo "$2 is a script: run valgrind on $exe" >&2; exit 2 ;;
esac
$run "\$@"
EOT
}
