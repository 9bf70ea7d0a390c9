#!/usr/bin/env bats
# The house as it is linked: tests/graph against tests/rooms.tsv.
bats_require_minimum_version 1.5.0
load helpers

setup() {
    tree=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
    BUILD=$(cd "${BUILD:-$tree/build}" && pwd)
    export BUILD
    rooms=$tree/tests/rooms.tsv
}

@test "rooms.tsv names all rooms of lib/, and no room below itself" {
    grep -v '^#\|^circle' "$rooms" | cut -f1 | sort | diff - <(ls "$tree/lib")
    # With arrows in it tsort would complain of a loop.
    grep -v '^#\|^circle' "$rooms" | awk -F'\t' '{ n = split($2, b, " "); for (i = 1; i <= n; i++) print $1, b[i] }' |
        tsort >/dev/null
}

@test "arrows run down: a room links only with rooms below it" {
    "$tree/tests/graph" rooms >"$BATS_TEST_TMPDIR/arrows"
    [ "$(wc -l <"$BATS_TEST_TMPDIR/arrows")" -gt 20 ]
    awk -F'\t' 'NR == FNR { n = split($2, b, " "); for (i = 1; i <= n; i++) below[$1, b[i]] = 1; next }
        { split($0, e, " "); if (!((e[1], e[2]) in below)) { print; bad = 1 } }
        END { exit bad }' "$rooms" "$BATS_TEST_TMPDIR/arrows"
}

@test "no circle of files but those that rooms.tsv names with their reason" {
    "$tree/tests/graph" circles | diff <(grep '^circle' "$rooms" | cut -f2) -
    grep '^circle' "$rooms" | awk -F'\t' '$3 == "" { exit 1 }'
}

@test "what one file alone uses is static, unless a test asks for it" {
    cd "$tree"
    # The table of a backend is declared for others; names of the compiler's own come with sanitizers.
    "$tree/tests/graph" unused | grep -vx 'ops/cpu/cpu ops_cpu\|.* _.*' >"$BATS_TEST_TMPDIR/unused"
    [ "$(wc -l <"$BATS_TEST_TMPDIR/unused")" -gt 5 ]
    while read -r file symbol; do
        grep -rqwF --include='*.[ch]' -- "$symbol" tests || { echo "lib/$file.c: $symbol"; return 1; }
    done <"$BATS_TEST_TMPDIR/unused"
}

@test "no room has more than a fifth of the lines" {
    "$tree/tests/graph" lines >"$BATS_TEST_TMPDIR/lines"
    awk '$3 >= 20 { print; bad = 1 } { sum += $3 } END { exit bad || sum < 99 || sum > 101 }' "$BATS_TEST_TMPDIR/lines"
}

@test "what is wrong is found: an arrow up, a circle" {
    mkdir -p "$BATS_TEST_TMPDIR/wrong/tests" "$BATS_TEST_TMPDIR/wrong/lib/"{low,high} "$BATS_TEST_TMPDIR/wrong/build/"{bin,lib/{low,high}}
    cp "$tree/tests/graph" "$BATS_TEST_TMPDIR/wrong/tests"
    cd "$BATS_TEST_TMPDIR/wrong"
    echo 'int high(void); int low(void) { return high(); } int alone(void) { return 1; }' >lib/low/one.c
    echo 'int low(void); int high(void) { return low(); }' >lib/high/two.c
    for file in low/one high/two; do
        cc -c -o "build/lib/$file.o" "lib/$file.c"
    done
    export BUILD=build
    [ "$(tests/graph rooms | paste -sd,)" = 'high low 1,low high 1' ]
    [ "$(tests/graph circles)" = 'high/two low/one' ]
    [ "$(tests/graph unused)" = 'low/one alone' ]
}
