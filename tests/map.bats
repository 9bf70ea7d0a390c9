#!/usr/bin/env bats
# The map: what its tables say of a map.tsv. That it makes one is the example of its page (man.bats).
# shellcheck disable=SC2016
bats_require_minimum_version 1.5.0
load helpers

P=$BATS_TEST_DIRNAME/../pipelines

setup() {
    export BIN=${BIN:-$BATS_TEST_DIRNAME/../bin}
    BIN=$(cd "$BIN" && pwd)
    cd "$BATS_TEST_TMPDIR" || return
}

# A map.tsv of lines `cell seed reference use gain error late auc slope rise verdict`.
map_of() {
    printf '%s\t' share epochs updates seed reference use sft continued score gain error greedy \
        early late reached auc slope rise
    printf 'verdict\n'
    while read -r cell seed reference use gain error late auc slope rise verdict; do
        printf '%s\t' "${cell//-/$'\t'}" "$seed" "$reference" "$use" 0.5 0.4 0.4 "$gain" "$error" - \
            0.1 "$late" 0.2 "$auc" "$slope" "$rise"
        printf '%s\n' "$verdict"
    done
}

@test "map: signs, clear gains, and Spearman" {
    # Of four cells, gains and S(1) - S(0) are in the same order; the AUC is in the other one.
    map_of <<'END' >map.tsv
10-1-9 1 half dpr -0.3 0.1 -    0.9 -1 -0.5 falling
20-1-9 1 half dpr -0.1 0.1 0.1  0.8 1  -0.4 falling
30-1-9 1 half dpr 0.2  0.1 0.2  0.7 1  0.1  rising
40-1-9 1 half dpr 0.4  0.1 0.3  0.4 1  0.2  neither
40-1-9 1 base -   -    -   0    0.5 0  0.0  neither
END
    run -0 "$P/studies/map" --from map.tsv
    tr -s ' ' <<<"$output" >said
    grep -qx ' all S(1) - S(0) 4/4 3/3 +1.00 \[+1.00, +1.00\]' said
    grep -qx ' all slope of S at 0 3/4 3/3 +0.77 \[.*\]' said
    grep -qx ' all the verdict 3/3 2/2 -' said
    grep -qx ' all AUC - 1/2 1/4 1/3 -1.00 \[-1.00, -1.00\]' said
    grep -qx ' all learned later 2/3 2/2 +1.00 \[+1.00, +1.00\]' said
    grep -qx ' all always 2/4 2/3 -' said
    # One use: no line of its own, and one reference of it: nothing to choose.
    run ! grep -q '^ dpr\|^choice' said
    # Means of what was measured, and of gains.
    grep -qx ' 40-1-9 0.500 0.500 0.400 +0.000 +0.200' said
    grep -qx ' 10-1-9 0.400 -0.300' said
}

@test "map: Spearman with ties, against numbers worked out by hand" {
    # Ranks 1 2.5 2.5 4 and 2 1 4 3: products 1.5, squares 4.5 and 5.
    map_of <<'END' >map.tsv
10-1-9 1 half dpr 0.2  0.1 0 0.5 1 -0.5 falling
20-1-9 1 half dpr 0.1  0.1 0 0.5 1 0.1  falling
30-1-9 1 half dpr 0.4  0.1 0 0.5 1 0.1  rising
40-1-9 1 half dpr 0.3  0.1 0 0.5 1 0.2  rising
END
    run -0 "$P/studies/map" --from map.tsv
    grep -qE 'all +S\(1\) - S\(0\) +3/4 +2/3 +\+0\.32 \[' <<<"$output"
    # What does not vary has no correlation.
    grep -qE 'all +slope of S at 0 +4/4 +3/3 +-$' <<<"$output"
}

@test "map: what the choice of a reference costs" {
    map_of <<'END' >map.tsv
10-1-9 1 half      dpr       0.1  0.1 0.1 0.6 1 0.3 rising
10-1-9 1 quarter   dpr       0.4  0.1 0.2 0.5 1 0.2 rising
10-1-9 2 half      dpr       0.3  0.1 0.1 0.6 1 0.3 rising
10-1-9 2 quarter   dpr       0.1  0.1 0.2 0.5 1 0.2 rising
10-1-9 1 quarter   best-of   0.1  0.1 0.2 0.5 1 0.2 rising
END
    run -0 "$P/studies/map" --from map.tsv
    tr -s ' ' <<<"$output" >said
    grep -qx ' dpr highest S(1) - S(0) 1/2 0.150' said
    grep -qx ' dpr highest learned later 1/2 0.100' said
    grep -qx ' dpr always half 1/2 0.150' said
    grep -qx ' dpr always quarter 1/2 0.100' said
    run ! grep -q 'best-of highest' said
    grep -qE '^ best-of always 1/1 0/0 -' said
}

@test "map: the picture" {
    command -v gnuplot >/dev/null || skip 'needs gnuplot'
    printf '10-1-9 1 half dpr 0.1 0.1 0.1 0.6 1 0.3 rising\n' | map_of >map.tsv
    "$P/studies/map" --from map.tsv --plot pictures/map >tables
    grep -q '^</svg>' pictures/map.svg
    grep -q 'AUC of good demonstrations' pictures/map.txt
}

@test "map: usage, and what is no map" {
    run -2 "$P/studies/map" 35-1-1200
    run -2 "$P/studies/map" -o out
    run -2 "$P/studies/map" -o out 35-1
    run -2 "$P/studies/map" -o out 100-1-10
    run -2 "$P/studies/map" -o out --arms dpr-half,nothing 35-1-10
    [[ $output == *"no 'nothing' here; there are: best-base "* ]]
    run -2 "$P/studies/map" -o out --seeds 0 35-1-10
    run -2 "$P/studies/map" --from map.tsv 35-1-10
    run -1 "$P/studies/map" --from map.tsv
    printf 'share\tepochs\n1\t2\n' >map.tsv
    run -1 "$P/studies/map" --from map.tsv
    [ "$output" = 'map: not a map.tsv' ]
    : >map.tsv
    run -1 "$P/studies/map" --from map.tsv
}
