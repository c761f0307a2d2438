#!/bin/sh
# Usage: header_deps.sh TREE LIST
# Print make rules by which an edit of one of our headers rebuilds the objects
# that include it, directly or through other headers, and no others.
# LIST names our files; TREE is the merged source tree, which is also where
# the objects are.
#
# Includes are matched by their last component.  That can only add a needless
# dependency, when two headers share it.
set -u
tree=$1 list=$2

cd "$tree" || exit 1
find Include Modules Objects Parser Programs Python Stackless -name '*.[ch]' -print0 |
    xargs -0 grep -E '^[[:space:]]*#[[:space:]]*include[[:space:]]*["<]' /dev/null |
    awk -v list="$list" '
    function base(path) { sub(/.*\//, "", path); return path }
    # Our sources outside Modules are objects of a module: see Setup.local.
    function object(path) {
        if (path in ours && path !~ /^Modules\//) path = "Modules/../" path
        sub(/c$/, "o", path)
        return path
    }
    BEGIN {
        while ((getline line < list) > 0) {
            if (!sub(/\.patch$/, "", line)) ours[line]
            if (line ~ /\.h$/) headers[++nheaders] = line
        }
    }
    {
        file = substr($0, 1, index($0, ":") - 1)
        name = $0
        sub(/^[^"<]*["<]/, "", name)
        sub(/[">].*/, "", name)
        name = base(name)
        users[name] = users[name] " " file
    }
    END {
        for (h = 1; h <= nheaders; h++) {
            split("", seen)
            queue[1] = base(headers[h])
            objects = ""
            for (head = tail = 1; head <= tail; head++) {
                n = split(users[queue[head]], files)
                for (i = 1; i <= n; i++) {
                    if (files[i] in seen) continue
                    seen[files[i]]
                    if (files[i] ~ /\.h$/) queue[++tail] = base(files[i])
                    else objects = objects " " object(files[i])
                }
            }
            if (objects != "") print substr(objects, 2) ": " headers[h]
        }
    }'
