# shellcheck shell=sh disable=SC2154
# Obtain a pinned CPython release.  Sourced by configure, which sets:
#   srcdir, cache        our repository; where tarballs and trees are kept
#   with_upstream        --with-upstream: a file or directory, or empty
#   want_version         --upstream-version, or empty
# obtain_upstream sets version and pristine: the clean extracted tree, which
# lies in the cache, is shared by all builds and is never written to.
# Nothing is used before its SHA-256 has been compared with the pinned one.
# A release that is known but was never tested is taken only when want_version
# names it.

# Why each source of a release failed, for the one sentence at the end.
fetch_failures=

fetch_failed() { fetch_failures="$fetch_failures${fetch_failures:+; }$*"; }

# Is the file $1 the tarball of release $2?
is_release() { [ "$(sha256 <"$1")" = "$(pinned "$2" 2)" ]; }

# Move the downloaded file $1 to its place in the cache if it is release $2;
# otherwise keep it aside under a name that says so.
accept_tarball() {
    if is_release "$1" "$2"; then
        mv -f "$1" "$cache/Python-$2.tar.xz"
        return
    fi
    bad=$cache/Python-$2.tar.xz.bad
    mv -f "$1" "$bad"
    warn "refused $3: its SHA-256 is not that of Python $2; kept as $bad"
    fetch_failed "what came from $3 has a wrong SHA-256 (kept as $bad)"
    return 1
}

fetch_from_cache() {
    [ -f "$cache/Python-$1.tar.xz" ] || return 1
    is_release "$cache/Python-$1.tar.xz" "$1" && return 0
    accept_tarball "$cache/Python-$1.tar.xz" "$1" "the cache"
}

fetch_from_python_org() {
    url=https://www.python.org/ftp/python/$1/Python-$1.tar.xz
    part=$cache/.download.$$
    say "trying $url"
    if have curl; then
        reason=$(curl -fsSL --connect-timeout 15 -o "$part" "$url" 2>&1)
    elif have wget; then
        reason=$(wget -nv -T 15 -t 1 -O "$part" "$url" 2>&1 | tail -n 1; [ -s "$part" ])
    else
        reason='neither curl nor wget is installed'
        false
    fi || {
        rm -f "$part"
        say "not had: $reason"
        fetch_failed "python.org: $reason"
        return 1
    }
    accept_tarball "$part" "$1" "$url"
}

# Print deb-src lines made from the machine's own Debian mirrors, both from
# the one-line and from the deb822 form of apt's configuration.
debian_source_lines() {
    keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    [ -f "$keyring" ] || keyring=
    {
        cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
            sed -n 's/^[[:space:]]*deb[[:space:]]\{1,\}\(\[[^]]*\][[:space:]]*\)\{0,1\}//p'
        for file in /etc/apt/sources.list.d/*.sources; do
            [ -f "$file" ] || continue
            # One line per URI and suite; a paragraph ends at an empty line.
            awk 'function out(   i, j, u, s) {
                     split(uris, u); split(suites, s)
                     for (i in u) for (j in s) print u[i], s[j], "main"
                     uris = suites = ""
                 }
                 /^URIs:/ { $1 = ""; uris = $0 }
                 /^Suites:/ { $1 = ""; suites = $0 }
                 /^[[:space:]]*$/ { out() }
                 END { out() }' "$file"
        done
    } | awk -v key="${keyring:+[signed-by=$keyring] }" '
        # A mirror of Debian proper is one that serves a release by name.
        $2 ~ /^(bullseye|bookworm|trixie|forky|sid|(old)?stable|testing|unstable)$/ &&
        !seen[$1]++ {
            print "deb-src " key $1 " trixie main"
            print "deb-src " key $1 " forky main"
        }'
}

# apt-get with its own lists and sources: needs no root, leaves the system's
# alone.  A mirror that lags behind will do: the tarball's hash decides.
private_apt() {
    tool=$1
    shift
    "$tool" -q -o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt/cache" \
        -o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o APT::Sandbox::User=root -o Acquire::Check-Valid-Until=false -o Acquire::Retries=1 "$@"
}

# Put the tarball of release $1 from the machine's Debian mirrors into $apt.
# On failure set reason.
download_debian_source() {
    debian_source_lines >"$apt/sources.list"
    reason='apt names no Debian mirror'
    [ -s "$apt/sources.list" ] || return 1
    # Its status says little (one of several mirrors may be old): what counts is the package.
    private_apt apt-get update >"$apt/log" 2>&1
    debversion=$(private_apt apt-cache showsrc python3.13 2>/dev/null |
        awk -v v="$1" '$1 == "Version:" && index($2, v "-") == 1 { print $2; exit }')
    if [ -n "$debversion" ]; then
        (cd "$apt" && private_apt apt-get source --download-only --tar-only "python3.13=$debversion") >>"$apt/log" 2>&1
    fi
    reason=$(grep '^[EW]:' "$apt/log" | head -n 1)
    reason=${reason:-the mirrors have no such version}
    [ -f "$apt/python3.13_$1.orig.tar.xz" ]
}

# Debian's source package contains upstream's own tarball, byte for byte.
fetch_from_debian() {
    have apt-get || { fetch_failed "this machine has no apt for Debian's source package"; return 1; }
    say "trying Debian's source package of Python $1"
    apt=$cache/.apt.$$
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
    if download_debian_source "$1"; then
        accept_tarball "$apt/python3.13_$1.orig.tar.xz" "$1" "Debian's source package"
    else
        say "not had: $reason"
        fetch_failed "Debian's source package: $reason"
        false
    fi
    status=$?
    rm -rf "$apt"
    return $status
}

# The SHA-256 of the tree of release $1; of one that was not tested, what it was
# when it was unpacked from the verified tarball.
expected_tree() {
    if is_untested "$1"; then cat "$cache/Python-$1.tree" 2>/dev/null; else pinned "$1" 3; fi
}

# Use the tree of release $1 that was unpacked before, if it is still clean.
use_unpacked() {
    pristine=$cache/Python-$1
    [ -d "$pristine" ] || return 1
    [ "$(tree_sha256 "$pristine")" = "$(expected_tree "$1")" ] && return 0
    rm -rf "$pristine.bad"
    mv "$pristine" "$pristine.bad"
    warn "$pristine was modified; kept as $pristine.bad and made anew"
    return 1
}

# Unpack release $1 from the cache, where its tarball was verified just now.
unpack() {
    use_unpacked "$1" && return
    tmp=$cache/.unpack.$$
    mkdir "$tmp"
    tar -xJf "$cache/Python-$1.tar.xz" -C "$tmp" || {
        rm -rf "$tmp"
        die "tar could not unpack $cache/Python-$1.tar.xz: is there room in $cache, and does xz work?"
    }
    ! is_untested "$1" || tree_sha256 "$tmp/Python-$1" >"$cache/Python-$1.tree"
    # Another configure may have been faster.
    mv "$tmp/Python-$1" "$pristine" 2>/dev/null || [ -d "$pristine" ]
    rm -rf "$tmp"
}

# An extracted tree the user has: verified, then copied to the cache.
take_tree() {
    version=$(sed -n 's/^#define PY_VERSION *"\(.*\)"/\1/p' "$1/Include/patchlevel.h")
    [ -n "$(pinned "$version" 3)" ] ||
        die "$1 is Python $version, which this overlay is not made for: use one of $(pinned_list)$(untested_list)"
    ! is_untested "$version" ||
        die "$1 is Python $version, of which only the tarball is known: give --with-upstream that tarball, and --upstream-version=$version"
    [ "$(tree_sha256 "$1")" = "$(pinned "$version" 3)" ] ||
        die "$1 is not the clean tree of Python $version's release tarball: unpack the tarball anew, or give --with-upstream the tarball itself"
    use_unpacked "$version" || {
        cp -Rp "$1" "$cache/.unpack.$$"
        mv "$cache/.unpack.$$" "$pristine"
    }
}

# A tarball the user has, under any name: true if it is a pinned release (of
# version want_version if given).  The user's file stays as it is.
take_tarball() {
    sum=$(sha256 <"$1")
    version=$(awk -v s="$sum" '$2 == s { print $1 }' "$srcdir/Tools/build/upstream.txt")
    [ -n "$version" ] || return 1
    [ "$version" = "${want_version:-$version}" ] || return 1
    [ -n "$want_version" ] || ! is_untested "$version" ||
        die "$1 is Python $version, which is known but was not tested with this overlay: if you want it all the same, say --upstream-version=$version too"
    cmp -s "$1" "$cache/Python-$version.tar.xz" || cp "$1" "$cache/Python-$version.tar.xz"
}

take_given() {
    if [ -f "$with_upstream" ]; then
        take_tarball "$with_upstream" ||
            die "$with_upstream is refused: its SHA-256 ($sum) is not that of Python ${want_version:-$(pinned_list)}"
    elif [ -f "$with_upstream/Include/patchlevel.h" ]; then
        take_tree "$with_upstream"
    elif [ -d "$with_upstream" ]; then
        version=
        for file in "$with_upstream"/*.tar.xz; do
            [ -f "$file" ] && take_tarball "$file" && break
            version=
        done
        [ -n "$version" ] ||
            die "$with_upstream holds neither an unpacked CPython nor the tarball of Python ${want_version:-$(pinned_list)}"
    else
        die "--with-upstream=$with_upstream: there is no such file or directory"
    fi
    [ "$version" = "${want_version:-$version}" ] ||
        die "--with-upstream gives Python $version, --upstream-version asks for $want_version"
    use_unpacked "$version" || unpack "$version"
}

obtain_upstream() {
    { mkdir -p "$cache" 2>/dev/null && [ -w "$cache" ]; } ||
        die "cannot write to the cache $cache: give another directory with --cache-dir"
    [ -z "$want_version" ] || [ -n "$(pinned "$want_version" 2)" ] ||
        die "Python $want_version is not one of the pinned releases: $(pinned_list)$(untested_list)"
    if [ -n "$with_upstream" ]; then
        take_given
        return
    fi
    for version in ${want_version:-$(pinned_versions)}; do
        fetch_failures=
        # What was not tested is verified by its tarball, each time.
        ! is_untested "$version" && use_unpacked "$version" && return
        for source in cache python_org debian; do
            "fetch_from_$source" "$version" && unpack "$version" && return
        done
        say "Python $version could not be had"
    done
    die "no CPython source could be had ($fetch_failures): connect this machine to the network, or give --with-upstream=FILE the release tarball Python-${want_version:-$version}.tar.xz"
}
