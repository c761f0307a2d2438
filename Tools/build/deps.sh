# shellcheck shell=sh
# What a build needs: find what is missing, name the command that installs it,
# run that command for --install-deps.  Sourced by configure, which sets
# CC, CPPFLAGS and CFLAGS.

# need: tool = a program, cc = a working compiler, otherwise headers, any of
# which will do (or pkg-config module "pc:NAME").
# kind: required, wanted (a standard module would be missing, or tests skipped),
# optional.
# The last four columns are packages; "-" means that it comes with the system,
# "none" that it cannot be had there, and is not looked for.
dependencies() {
    cat <<'TABLE'
cc         required  cc                          gcc,libc6-dev    gcc,glibc-devel gcc,musl-dev,linux-headers -
make       required  tool                        make             make            make            make
patch      required  tool                        patch            patch           patch           gpatch
cmp        required  tool                        diffutils        diffutils       diffutils       -
find       required  tool                        findutils        findutils       findutils       -
tar        required  tool                        tar              tar             tar             -
xz         required  tool                        xz-utils         xz              xz              xz
zlib       required  zlib.h                      zlib1g-dev       zlib-devel      zlib-dev        zlib
libffi     required  ffi.h,pc:libffi             libffi-dev       libffi-devel    libffi-dev      libffi
openssl    required  openssl/ssl.h,pc:openssl    libssl-dev       openssl-devel   openssl-dev     openssl@3
sqlite3    wanted    sqlite3.h,pc:sqlite3        libsqlite3-dev   sqlite-devel    sqlite-dev      sqlite
bz2        wanted    bzlib.h                     libbz2-dev       bzip2-devel     bzip2-dev       bzip2
lzma       wanted    lzma.h,pc:liblzma           liblzma-dev      xz-devel        xz-dev          xz
readline   wanted    readline/readline.h,editline/readline.h libreadline-dev readline-devel readline-dev readline
uuid       wanted    uuid/uuid.h,uuid.h,pc:uuid  uuid-dev         libuuid-devel   util-linux-dev  -
ncurses    wanted    ncurses.h,ncursesw/ncurses.h,curses.h libncurses-dev ncurses-devel ncurses-dev ncurses
aarch64-linux-gnu-gcc wanted tool                gcc-aarch64-linux-gnu,libc6-dev-arm64-cross none none none
qemu-aarch64 wanted  tool                        qemu-user        none            none            none
gdbm       optional  gdbm.h                      libgdbm-dev      gdbm-devel      gdbm-dev        gdbm
tk         optional  tk.h,pc:tk                  tk-dev           tk-devel        tk-dev          tcl-tk
TABLE
}

# Set CC, unless the user did; empty if there is no compiler.
find_compiler() {
    [ -z "$CC" ] || return 0
    for CC in gcc cc clang; do
        have "$CC" && return
    done
    CC=
}

# Does $CC make a program?  Its first complaint goes to compiler_error.
compiler_works() {
    compiler_error='there is none'
    [ -n "$CC" ] || return 1
    tmp=$(mktemp -d) || die "cannot make a temporary directory: is \$TMPDIR (or /tmp) writable and not full?"
    echo '#include <stdio.h>
int main(void) { return puts("") < 0; }' >"$tmp/t.c"
    # The user's flags are words.
    # shellcheck disable=SC2086
    $CC $CPPFLAGS $CFLAGS "$tmp/t.c" -o "$tmp/t" 2>"$tmp/log"
    status=$?
    compiler_error=$(grep . "$tmp/log" | head -n 1)
    compiler_error=${compiler_error:-it says nothing}
    rm -rf "$tmp"
    return $status
}

header_found() {
    # shellcheck disable=SC2086
    printf '#include <stdio.h>\n#include <%s>\n' "$1" | $CC $CPPFLAGS $CFLAGS -E - >/dev/null 2>&1
}

# Is the need $2 (third column) of dependency $1 met?
is_met() {
    case $2 in
    tool) have "$1" ;;
    cc) compiler_works ;;
    *)
        for one in $(printf '%s' "$2" | tr , ' '); do
            case $one in
            pc:*) have pkg-config && pkg-config --exists "${one#pc:}" && return 0 ;;
            *) header_found "$one" && return 0 ;;
            esac
        done
        return 1
        ;;
    esac
}

# Set missing_required, missing_wanted, missing_optional: names.
find_missing() {
    missing_required='' missing_wanted='' missing_optional=''
    while read -r name kind need _; do
        is_met "$name" "$need" </dev/null || eval "missing_$kind=\"\$missing_$kind \$name\""
    done <<EOT
$(dependencies | awk -v c="${column-4}" '$c != "none"')
EOT
}

# The package manager: sets the command that installs (as root) and the
# column of its packages in the table.
find_package_manager() {
    sudo=
    [ "$(id -u)" = 0 ] || sudo='sudo '
    if have apt-get; then
        install="${sudo}apt-get install -y --no-install-recommends" column=4
    elif have dnf; then
        install="${sudo}dnf install -y" column=5
    elif have apk; then
        install="${sudo}apk add" column=6
    elif have brew; then
        install="brew install" column=7 sudo=
    else
        install=
    fi
}

# The command that installs the dependencies $1 (names), or nothing.
install_command() {
    [ -n "$install" ] || return
    packages=$(dependencies | awk -v names=" $1 " -v c="$column" '
        index(names, " " $1 " ") && $c != "-" { gsub(",", " ", $c); printf " %s", $c }')
    [ -z "$packages" ] || printf '%s' "$install$packages"
}

# sudo must not ask for a password here: -n makes it fail instead.
can_install() { [ -z "$sudo" ] || { have sudo && sudo -n true; } 2>/dev/null; }

run_install() {
    command=$(install_command "$1")
    [ -n "$command" ] || die "do not know how to install$1 on this system: please install them yourself"
    can_install ||
        die "--install-deps needs to be root or to have sudo without a password; run '$command' yourself, then ./configure"
    say "installing what is missing: $command"
    if have apt-get; then
        # A third-party source that is out of order need not stop us.
        ${sudo:+sudo -n} apt-get update -q || warn "apt-get update reported errors"
        command=$(printf '%s' "$command" | sed "s/^sudo //; s/^/${sudo:+sudo -n }env DEBIAN_FRONTEND=noninteractive /")
    fi
    # shellcheck disable=SC2086
    $command </dev/null || die "'$command' failed: run it yourself to see why, then ./configure"
}

# $1: "yes" for --install-deps.
check_dependencies() {
    find_package_manager
    if [ -n "$CC$CFLAGS$CPPFLAGS" ]; then
        # What the user chose; nothing to install against that.
        find_compiler
        [ -z "$CC" ] || check_architecture
        [ -z "$CC" ] || compiler_works ||
            die "the compiler '$CC${CFLAGS:+ $CFLAGS}' does not make a working program ($compiler_error): correct CC, CFLAGS and CPPFLAGS, or leave them out"
    fi
    find_compiler
    find_missing
    # What is only wanted need not stop a user who can't install it.
    if [ "$1" = yes ] && [ -n "$missing_required$missing_wanted" ] &&
        { [ -n "$missing_required" ] || can_install; }; then
        run_install "$missing_required$missing_wanted"
        find_compiler
        find_missing
    fi
    if [ -n "$missing_required" ]; then
        command=$(install_command "$missing_required$missing_wanted")
        die "missing build dependencies:$missing_required$missing_wanted; install them with: ${command:-your package manager}${command:+   (or give --install-deps)}"
    fi
    if [ -n "$missing_wanted" ]; then
        warn "standard modules will be missing, or tests skipped, for want of:$missing_wanted; to have them: $(install_command "$missing_wanted")"
    fi
    if [ -n "$missing_optional" ]; then
        say "optional libraries not found:$missing_optional (to have them: $(install_command "$missing_optional"))"
    fi
    check_architecture
}

# The stack switcher knows these; ask the compiler, not the machine, so that
# cross compilers and -m32 are judged by what they produce.  Without a working
# compiler there is nothing to say yet.
check_architecture() {
    # shellcheck disable=SC2086
    arch=$(printf '%s\n' '#if defined(__x86_64__) && defined(__LP64__)' 'arch x86_64' \
        '#elif defined(__aarch64__) && defined(__LP64__)' 'arch aarch64' '#else' 'arch other' '#endif' |
        $CC $CPPFLAGS $CFLAGS -E - 2>/dev/null | sed -n 's/^arch //p')
    [ "$arch" != other ] ||
        die "this architecture is not supported yet: stackless builds for 64-bit x86_64 and aarch64 only, the compiler '$CC${CFLAGS:+ $CFLAGS}' for $($CC -dumpmachine)"
}
