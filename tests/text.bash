# What the tests of texts share: streams as JSON lines, and refusals.
# shellcheck disable=SC2154
load helpers

# Records of a stream as JSONL without the header.
view() {
    "$BIN/toks" view "$@" | tail -n +2
}

fails() { # STATUS PATTERN COMMAND...: one line on stderr, status and text as wanted
    local want=$1 pattern=$2
    shift 2
    run --separate-stderr "$@" -o /dev/null
    [ "$status" -eq "$want" ] || { echo "status $status, not $want: $stderr"; return 1; }
    [ "$(grep -c '' <<<"$stderr")" -eq 1 ] || { echo "not one line: $stderr"; return 1; }
    # shellcheck disable=SC2053
    [[ $stderr == $pattern ]] || { echo "'$stderr' is not like '$pattern'"; return 1; }
}
