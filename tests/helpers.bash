# Helpers of all bats files.
# shellcheck disable=SC2016,SC2034,SC2154
BIN=${BIN:-$BATS_TEST_DIRNAME/../bin}
SHARED=${SHARED:-$BATS_TEST_DIRNAME/../../shared}

need() { # PATH: skips the test where it is absent
    [ -e "$1" ] || skip "needs $1"
}

# COMMAND...: returns when it holds, polled; false when it did not within five minutes, which only a
# state that never comes takes.
await() {
    local i
    for ((i = 0; i < 15000; i++)); do
        if "$@"; then return 0; fi
        sleep 0.02
    done
    echo "never: $*"
    return 1
}

has_lines() { # FILE NUMBER: at least so many
    [ -e "$1" ] && [ "$(wc -l <"$1")" -ge "$2" ]
}

is_gone() { # PID
    ! kill -0 "$1" 2>/dev/null
}

nap() { # MILLISECONDS
    sleep "$(($1 / 1000)).$(printf %03d $(($1 % 1000)))"
}

# COMMAND...: runs it; `took` is how many milliseconds that was here.
timed() {
    local begin=${EPOCHREALTIME//[.,]/}
    "$@" || return
    took=$(((${EPOCHREALTIME//[.,]/} - begin) / 1000 + 1))
}

# ---- when a running command is hit: it is the process `pid` ----

at_random() { # any instant of the `span` milliseconds that a run takes
    nap $((RANDOM * span / 32768))
}

after_lines() { # FILE NUMBER: so many more lines than when it began, or its end
    local file=$1 goal=$2
    [ ! -e "$file" ] || goal=$((goal + $(wc -l <"$file")))
    await eval 'has_lines "$file" "$goal" || is_gone "$pid"'
}

# SIGNAL MOMENT COMMAND...: the command, in a session of its own, and all that it started get the
# signal at the moment (one of the above, in one word); `got` is its status.
hit() {
    local signal=$1 moment=$2 pid
    shift 2
    got=0
    setsid "$@" >/dev/null 2>said 3>&- &
    pid=$!
    eval "$moment"
    kill -s "$signal" -- "-$pid" 2>/dev/null || kill -s "$signal" "$pid" 2>/dev/null || true
    wait "$pid" || got=$?
}

# HITS SIGNALS MOMENT COMMAND...: the command is hit and begun again until it ends by itself, with
# the signals in turn; then `same_as_straight` must hold. It starts anew (`afresh`) until HITS have
# landed: how fast the machine is decides only how often. The test defines both functions, and
# `span` for at_random, which follows the machine: longer after a hit, shorter when none landed.
hit_and_resumed() {
    local hits=$1 signals moment=$3 landed=0 before tries got i=0
    read -ra signals <<<"$2"
    shift 3
    for ((tries = 0; landed < hits; tries++)); do
        [ "$tries" -lt $((4 * hits + 20)) ] || { echo "only $landed hits landed"; return 1; }
        before=$landed
        afresh
        while :; do
            hit "${signals[i++ % ${#signals[@]}]}" "$moment" "$@"
            case $got in
            0) break ;;
            75 | 137) landed=$((landed + 1)) ;;
            *) echo "status $got: $(cat said)"; return 1 ;;
            esac
            span=$((${span:-0} * 5 / 4 + 1))
        done
        same_as_straight || return
        [ "$landed" -gt "$before" ] || span=$((span / 2 + 1))
    done
    echo "# $landed hits landed"
}
