#!/usr/bin/env bats
# Everything around the programs: the test runner, packages, installation, documents.
# shellcheck disable=SC2016,SC2314
bats_require_minimum_version 1.5.0
load helpers

setup() {
    tree=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
    cd "$BATS_TEST_TMPDIR" || return
}

# ---- tests/run ----

# A unit program in a build folder of its own: its body is read from stdin.
unit() { # NAME
    mkdir -p build/tests
    { echo '#!/bin/bash'; cat; } >"build/tests/$1"
    chmod +x "build/tests/$1"
}
run_tests() {
    # The outer test's own environment must not reach the inner runner.
    (unset "${!BATS_@}" && BUILD=$PWD/build BIN=$BIN "$tree/tests/run" "$@") 2>/dev/null
}

@test "tests/run: counts what passed and was skipped, and why" {
    unit test_one <<<'echo "ok 1 - a"; echo "ok 2 - b # skip needs x"; echo 1..2'
    unit test_two <<<'echo "ok 1 - a"; echo 1..1'
    run -0 run_tests test_one test_two
    [ "${lines[0]}" = 'skipped:' ]
    [ "${lines[1]}" = '      1  needs x' ]
    [ "${lines[-1]}" = '2 passed, 0 failed, 1 skipped' ]
}

@test "tests/run: a failing test is shown with what it said" {
    unit test_bad <<<'echo "ok 1 - a"; echo "# x.c:3: 1 == 2"; echo "not ok 2 - b"; echo 1..2; exit 1'
    run -1 run_tests test_bad
    [ "${lines[1]}" = 'test_bad: not ok 2 - b' ]
    [ "${lines[2]}" = '    # x.c:3: 1 == 2' ]
    [ "${lines[-1]}" = '1 passed, 1 failed, 0 skipped' ]
}

@test "tests/run: a program that breaks off fails, whatever it printed before" {
    unit test_killed <<<'echo "ok 1 - a"; kill -SEGV $$'
    run -1 run_tests test_killed
    [[ ${lines[1]} == 'test_killed: broke off with status 139 after 1 tests' ]]
    [ "${lines[-1]}" = '1 passed, 1 failed, 0 skipped' ]
    unit test_short <<<'echo "ok 1 - a"; echo 1..2'
    run -1 run_tests test_short
    [ "${lines[-1]}" = '1 passed, 1 failed, 0 skipped' ]
    unit test_silent <<<'exit 0'
    run -1 run_tests test_silent
    [ "${lines[-1]}" = '0 passed, 1 failed, 0 skipped' ]
    unit test_leak <<<'echo "ok 1 - a"; echo 1..1; echo "==1==ERROR: LeakSanitizer"; exit 99'
    run -1 run_tests test_leak
    [[ ${lines[*]} == *LeakSanitizer* ]]
    unit test_slow <<<'echo "ok 1 - a"; sleep 60'
    TEST_SECONDS=1 run -1 run_tests test_slow
    [[ ${lines[1]} == *'out of time'* ]]
    run -2 run_tests no_such_test
}

# ---- packages ----

@test "README shows the packages of packages.txt, all of them and no others" {
    sed -n '/<!-- packages -->/,/<!-- end -->/p' "$tree/README.md" | grep '^|' >shown
    "$tree/.ci/packages" --table | diff - shown
    [ "$(wc -l <shown)" -gt 15 ]
}

@test "packages: names of groups, and what is missing" {
    run -0 "$tree/.ci/packages" --list build
    [[ " ${lines[*]} " == *' libzstd-dev '* && " ${lines[*]} " != *' bats '* ]]
    [ "$("$tree/.ci/packages" --list | sort | uniq -d)" = '' ]
    # A system that has none of them but bash and coreutils, and no right to install any.
    mkdir dead
    printf '#!/bin/bash\nexit 1\n' | tee dead/dpkg-query >dead/sudo
    chmod +x dead/*
    PATH=$BATS_TEST_TMPDIR/dead:$PATH run -0 "$tree/.ci/packages" --missing build
    [ "${lines[*]}" = "$("$tree/.ci/packages" --list build | paste -sd' ')" ]
    if [ "$(id -u)" -ne 0 ]; then
        PATH=$BATS_TEST_TMPDIR/dead:$PATH run -1 "$tree/.ci/packages" build
        [[ $output == *'apt-get install -y'*libzstd-dev* ]]
    fi
}

# A tree whose targets have nothing to build, on a system with all commands but these packages.
bare_tree() { # PACKAGE...
    mkdir -p tree/.ci tree/tests/fuzz tree/tests/fidelity tree/tests/bench tree/pipelines tree/bin tree/build system
    cp "$tree/Makefile" "$tree/packages.txt" tree
    cp "$tree/.ci/packages" tree/.ci
    printf '#!/bin/bash\necho ran\n' | tee tree/.ci/lint tree/tests/run tree/tests/fuzz/run tree/tests/fidelity/run \
        tree/pipelines/demo tree/pipelines/compare >tree/tests/bench/a.sh
    chmod +x tree/.ci/lint tree/tests/run tree/tests/*/run tree/pipelines/* tree/tests/bench/a.sh
    printf '#!/bin/bash\n[[ " %s " == *" ${!#} "* ]] || echo installed\n' "$*" >system/dpkg-query
    printf '#!/bin/bash\necho "apt-get $*" >>"%s"\n' "$PWD/asked" >system/apt-get
    printf '#!/bin/bash\n[[ $1 != -n ]] || shift\nexec "$@"\n' >system/sudo
    for name in clang clang-format clang-tidy shellcheck mandoc valgrind; do echo '#!/bin/bash' >"system/$name"; done
    chmod +x system/*
}
bare_make() { # ARGUMENT...
    rm -f asked
    # What make prints of its folders is none of this.
    (unset MAKEFLAGS MAKELEVEL BUILD BIN SANITIZE && PATH=$PWD/system:$PATH make --no-print-directory -s -C tree "$@") \
        >said 2>complaint
}

@test "packages: each target that installs some says so in one line, and DEPS=no leaves it out" {
    unset DEPS # which this run may have been given
    bare_tree jq libzstd-dev bats clang
    local target want
    for target in demo compare fidelity test test-slow lint bench fuzz; do
        case $target in
        test*) want='libzstd-dev jq bats' ;;
        lint | fuzz) want='libzstd-dev clang' ;;
        *) want='libzstd-dev jq' ;;
        esac
        bare_make "$target"
        [ "$(grep -c "^installing Debian packages .*(DEPS=no leaves that out): $want\$" complaint)" -eq 1 ]
        grep -qx "apt-get .*install -y --no-install-recommends $want" asked
        bare_make "$target" DEPS=no
        [ ! -s complaint ]
        [ ! -e asked ]
        DEPS=no bare_make "$target"
        [ ! -s complaint ]
        [ ! -e asked ]
    done
    run ! bare_make test DEPS=maybe
    [ ! -e asked ]
    # All that the two commands of the README need, and nothing else is done.
    DEPS=no bare_make deps
    [ ! -s said ]
    grep -qx 'apt-get .* libzstd-dev jq bats' asked
    bare_make deps DEPS_FOR='lint slow'
    grep -qx 'apt-get .* clang' asked
    run ! bare_make deps DEPS_FOR=none
    [ ! -e asked ]
}

@test "packages: what is missing is named by what needs it, with the way to get it" {
    mkdir few
    local name
    for name in bash env dirname sed awk grep; do ln -s "$(type -P $name)" few; done
    PATH=$PWD/few run -1 "$tree/tests/run" man
    [ "${#lines[@]}" -eq 1 ]
    [[ $output == 'not found: bats jq zstd xxd. '*'`make deps`'* ]]
    PATH=$PWD/few run -1 "$tree/.ci/packages" --need clang bats
    [[ $output == 'not found: clang bats. '*'`make deps DEPS_FOR="lint test"`'* ]]
    # Another way than Debian's to have one is as good.
    ln -s "$(type -P true)" few/clang
    PATH=$PWD/few "$tree/.ci/packages" --need clang
    BIN=$BIN PATH=$PWD/few run -1 "$tree/pipelines/rewards/number"
    [[ $output == 'number: jq was not found: '*'Debian package jq '* ]]
    # A compiler tells what it lacks.
    bare_tree libxxhash-dev
    printf '#!/bin/bash\necho "fatal error: xxhash.h" >&2; exit 1\n' >system/cc && chmod +x system/cc
    mkdir -p tree/lib/base && echo 'int x;' >tree/lib/base/x.c
    run ! bare_make DEPS=no CC=cc objects
    grep -q 'not installed: libxxhash-dev$' complaint
    grep -q '`make deps`' complaint
}

# ---- installation ----

@test "make install puts programs, pages and pipelines in place; uninstall takes them away" {
    [ "$BIN" -ef "$tree/bin" ] || skip 'needs the plain build'
    # Without the BUILD of the tests, which is another spelling of the folder: make would link the
    # programs again while other tests run them.
    env -u BUILD make -C "$tree" -s install DESTDIR="$PWD/root" PREFIX=/usr >/dev/null
    for source in "$tree"/bin/*.c; do
        name=$(basename "$source" .c)
        "root/usr/bin/$name" --version >said
        case $name in
        densepath) grep -qE '^densepath [0-9]+\.' said ;;
        *) grep -q "^$name (densepath) " said ;;
        esac
        [ -s "root/usr/share/man/man1/$name.1" ]
    done
    for page in "$tree"/man/*; do
        cmp "$page" "root/usr/share/man/man${page##*.}/${page##*/}"
    done
    # An installed pipeline runs with the installed programs.
    PATH=$PWD/root/usr/bin:$PATH run -0 root/usr/share/densepath/pipelines/sft --help
    [[ $output == Usage:* ]]
    env -u BUILD make -C "$tree" -s uninstall DESTDIR="$PWD/root" PREFIX=/usr >/dev/null
    [ "$(find root -not -type d)" = '' ]
    [ ! -e root/usr/share/densepath ]
}

@test "completion knows programs, commands and options" {
    # shellcheck source=/dev/null
    source "$tree/completions/densepath.bash"
    PATH=$BIN:$PATH
    [ "$(complete_words dense-reward --floo)" = --floor ]
    [ "$(complete_words dense-reward --credit un)" = uniform ]
    [ "$(complete_words toks sel)" = select ]
    [ "$(complete_words toks select --botto)" = --bottom ]
    [ "$(complete_words model ini)" = init ]
    [ "$(complete_words tok --offsets yes --boundary se)" = separate ]
}

# ---- sources ----

@test "arrows run down: a room includes only rooms below it" {
    declare -A below=()
    while IFS=$'\t' read -r room others; do
        below[$room]=$others
    done < <(grep -v '^#\|^circle' "$tree/tests/rooms.tsv")
    [ "${#below[@]}" -gt 10 ]
    for room in "${!below[@]}"; do
        while IFS=: read -r file include; do
            [[ " $room ${below[$room]} " == *" $include "* ]] || {
                echo "$file includes $include/"
                return 1
            }
        done < <(cd "$tree/lib" && grep -rhoE --include='*.[ch]' -H '^#include "[a-z]+/' "$room" |
            sed -E 's/#include "([a-z]+)\//\1/')
    done
}

@test "a tag of struct, union or enum means one thing in lib and bin" {
    cd "$tree"
    while read -r file; do
        sed 's,//.*,,' "$file" | tr '\n' ' ' | grep -oE '\b(struct|union|enum) +[A-Za-z0-9_]+ *\{' |
            sed -E "s,^[a-z]+ +([A-Za-z0-9_]+).*,\1 $file,"
    done < <(find lib bin -name '*.[ch]' -o -name '*.inc' | sort) >"$BATS_TEST_TMPDIR/tags"
    [ "$(wc -l <"$BATS_TEST_TMPDIR/tags")" -gt 300 ]
    awk '++n[$1] > 1 { print; bad = 1 } END { exit bad }' "$BATS_TEST_TMPDIR/tags"
}

@test "messages call a record as shown_record does" {
    cd "$tree"
    run -1 grep -rnF 'record `%' --include='*.[ch]' lib bin
}

@test "each source says its licence" {
    cd "$tree"
    run grep -L 'SPDX-License-Identifier: MIT' bin/*.[ch] bin/*/*.[ch] lib/*/*.[ch] lib/*/*/*.[ch] tests/unit/*.[ch]
    [ "$output" = '' ]
}

@test "README and densepath(7) name each pipeline, and each explains itself" {
    cd "$tree"
    find pipelines pipelines/studies -maxdepth 1 -type f -executable -printf '%f\n' | sort >"$BATS_TEST_TMPDIR/there"
    sed -nE 's/^\| `([a-z-]+)` \| .*/\1/p' <(sed '/<!-- packages -->/,$d' README.md) | sort |
        diff - "$BATS_TEST_TMPDIR/there"
    sed -n '/^\.Sh PIPELINES/,/^\.Sh THEORY/s/^\.It Cm //p' man/densepath.7 | sort |
        diff - "$BATS_TEST_TMPDIR/there"
    while read -r name; do
        "$(find pipelines pipelines/studies -maxdepth 1 -name "$name")" --help | grep -q "^Usage: $name "
    done <"$BATS_TEST_TMPDIR/there"
}

@test "README, densepath(7) and completions name each program" {
    cd "$tree"
    for source in bin/*.c; do
        name=$(basename "$source" .c)
        grep -q "^| \[$name\](man/$name.1) |" README.md
        grep -q "^\.It Xr $name 1$" man/densepath.7
        grep -A9 '^complete ' completions/densepath.bash | grep -qE "(^| )$name( |$)"
    done
}

@test "README and densepath(7) name each page that is of no program or pipeline" {
    cd "$tree"
    for page in man/*.[57]; do
        name=${page##*/}
        grep -qF "]($page)" README.md || { echo "README.md: $page"; return 1; }
        [ "$page" = man/densepath.7 ] || sed -n '/^\.Sh SEE ALSO/,$p' man/densepath.7 | grep -q "^\.Xr ${name%.*} ${name##*.}\( ,\)*$" ||
            { echo "densepath.7: $page"; return 1; }
    done
}

@test "NEWS names each program and pipeline" {
    cd "$tree"
    for file in bin/*.c pipelines/* pipelines/studies/*; do
        name=$(basename "$file" .c)
        [[ ! -f $file || $name == *.* ]] || tr -c 'a-z0-9-' '\n' <NEWS | grep -qxF -- "$name" ||
            { echo "$name"; return 1; }
    done
}

@test "README links to files that exist" {
    cd "$tree"
    mapfile -t pages < <(find pipelines -name '*.md')
    [ "${#pages[@]}" -ge 5 ]
    grep -oE '\]\([^)#:][^):]*\)' README.md formats/*.md "${pages[@]}" | sed -E 's/#.*/)/' | sed -E 's/^([^:]*):\]\((.*)\)$/\1 \2/' |
        while read -r page link; do
            [ -e "$(dirname "$page")/$link" ] || { echo "$page: $link"; exit 1; }
        done
}

@test "HACKING.md: the files and names in it exist" {
    cd "$tree"
    grep -oE '`[^`]+`' HACKING.md | tr -d '`' | sort -u >"$BATS_TEST_TMPDIR/names"
    # Files and folders; NAME stands for any, OUT for a user's.
    grep -E '^(bin|lib|man|tests|pipelines|formats)/|\.md$' "$BATS_TEST_TMPDIR/names" | grep -v '[A-Z]*NAME\|^OUT\|[*]' \
        >"$BATS_TEST_TMPDIR/files"
    [ "$(wc -l <"$BATS_TEST_TMPDIR/files")" -gt 40 ]
    while read -r file; do
        [ -e "$file" ] || { echo "$file"; return 1; }
    done <"$BATS_TEST_TMPDIR/files"
    # Names of the sources: struct_or_function_name, CONSTANT_NAME.
    grep -oE '^(struct |enum )?[A-Za-z]+_[A-Za-z_]+$' "$BATS_TEST_TMPDIR/names" | sed 's/^[a-z]* //' |
        grep -v '^thing_\|^DENSEPATH_\|NAME' >"$BATS_TEST_TMPDIR/identifiers"
    [ "$(wc -l <"$BATS_TEST_TMPDIR/identifiers")" -gt 2 ]
    while read -r name; do
        grep -rqw --include='*.[ch]' -- "$name" lib || { echo "$name"; return 1; }
    done <"$BATS_TEST_TMPDIR/identifiers"
    # Links.
    for link in $(grep -oE '\]\([^)#:]+\)' HACKING.md | tr -d '])('); do
        [ -e "$link" ] || { echo "$link"; return 1; }
    done
}

# ---- what is supported ----

@test "README, densepath-models(7), the program and the fixtures know the same families" {
    cd "$tree"
    sed -n '/<!-- support -->/,/<!-- end -->/p' README.md > "$BATS_TEST_TMPDIR/table"
    grep '^| families ' "$BATS_TEST_TMPDIR/table" | cut -d'|' -f3 | grep -oE '`[a-z0-9_]+`' | tr -d '`' | sort >"$BATS_TEST_TMPDIR/readme"
    sed -n '/^\.Sh FAMILIES/,/^\.El/s/^\.It Cm //p' man/densepath-models.7 | sort >"$BATS_TEST_TMPDIR/page"
    mkdir -p "$BATS_TEST_TMPDIR/none" && echo '{"model_type":"none"}' >"$BATS_TEST_TMPDIR/none/config.json"
    "$BIN/model" info "$BATS_TEST_TMPDIR/none" 2>&1 | sed 's/.*which reads //' | grep -oE '[a-z0-9_]+' | sort >"$BATS_TEST_TMPDIR/program"
    jq -r .model_type tests/fixtures/configs/*.json | sort -u >"$BATS_TEST_TMPDIR/fixtures"
    cd "$BATS_TEST_TMPDIR"
    [ "$(wc -l <readme)" -ge 20 ]
    diff readme page
    diff readme program
    diff readme fixtures
}

@test "each row of README's table of support names tests that exist" {
    cd "$tree"
    sed -n '/<!-- support -->/,/<!-- end -->/p' README.md | grep '^| [a-z]' | tail -n +2 | grep -v '^| what ' |
        while IFS='|' read -r _ what _ tests _; do
            [ -n "$(grep -oE '`[a-z_-]+`' <<<"$tests")" ] || { echo "$what: no test"; exit 1; }
            for name in $(grep -oE '`[a-z_-]+`' <<<"$tests" | tr -d '`'); do
                [ -e "tests/$name.bats" ] || [ -e "tests/unit/$name.c" ] || { echo "$what: $name"; exit 1; }
            done
        done
}

# ---- Unicode ----

# The headers that the script makes, as it lists them.
unicode_headers() {
    sed -n 's|^    "\(lib/.*\.h\)": .*|\1|p' "$tree/.ci/unicode_tables.py"
}

@test "the Unicode tables name the script that makes them and their version" {
    [ "$(unicode_headers | wc -l)" = 5 ]
    while IFS= read -r header; do
        echo "$header"
        grep -q '^// Made by \.ci/unicode_tables\.py\.$' "$tree/$header"
        tr -d '\n' <"$tree/$header" | grep -qE 'Unicode(//| )+[0-9]+\.[0-9]'
    done < <(unicode_headers)
}

# UCD: a folder of the database, of the newest version of any table or a later one
@test "the Unicode tables are what the script makes of the database" {
    local ucd=${UCD:-/usr/share/unicode} newest version
    command -v python3 >/dev/null || skip 'needs python3'
    command -v clang-format >/dev/null || skip 'needs clang-format'
    newest=$(sed -n 's/^NEWEST = "\([0-9]*\).*/\1/p' "$tree/.ci/unicode_tables.py")
    version=$(sed -n '1s/^# DerivedAge-\([0-9]*\).*/\1/p' "$ucd/DerivedAge.txt" 2>/dev/null) || true
    [ "${version:-0}" -ge "$newest" ] || skip "needs the Unicode Character Database $newest.0 in UCD or /usr/share/unicode"
    run -0 python3 "$tree/.ci/unicode_tables.py" --check "$ucd"
}
