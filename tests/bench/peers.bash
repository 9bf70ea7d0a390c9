# Other programs at the same work, for tests/bench/engine.sh: those that are there. Sourced.
#   PEERS_PYTHON: a Python with torch and transformers, and gguf and llama_cpp for llama.cpp's scoring
#   llama-batched-bench (drawing) and llama-bench (prompts): looked for on PATH
# A peer that is there and does not run is an error. `work`, `threads`, `status` and `seconds` are engine.sh's.
# shellcheck shell=bash disable=SC2154
peers_driver=${BASH_SOURCE[0]%/*}/peers.py
PEERS_PYTHON=${PEERS_PYTHON-}
export TORCHINDUCTOR_CACHE_DIR=${TORCHINDUCTOR_CACHE_DIR:-$work/inductor}

drive() { "$PEERS_PYTHON" "$peers_driver" "$@" 2>"$work/peer.log"; }
has_torch='' has_bindings='' has_batched='' has_llama=''
find_peers() { # and say which
    local torch='' bindings=''
    if [[ -n $PEERS_PYTHON ]]; then
        torch=$(drive torch) && has_torch=yes
        bindings=$(drive llama) && has_bindings=yes
    fi
    has_batched=$(type -P llama-batched-bench) || true
    has_llama=$(type -P llama-bench) || true
    # Their weights are written by the driver.
    [[ -n $has_torch ]] || has_batched='' has_llama='' has_bindings=''
    local llama="${has_batched:+ llama-batched-bench}${has_llama:+ llama-bench}${has_bindings:+ $bindings}"
    printf 'peers      %s; llama.cpp:%s; llm.c: not a package, not compared\n' \
        "${torch:-no torch and transformers (PEERS_PYTHON=/path/to/python names one that has them)}" "${llama:- none}"
}

peer_rows=()
peer() { # NAME COMMAND...: one that prints its seconds for the work of the row
    local s
    : >"$work/peer.log"
    if s=$("${@:2}") && [[ $s == [0-9]* ]]; then
        peer_rows+=("$s"$'\t'"$1")
    else
        printf '  %s: failed: %s\n' "$1" "$(tail -1 "$work/peer.log")"
        status=$((status > 1 ? status : 1))
    fi
}
# A line for each peer of the row: its rate, and ours as a multiple; what is asked is of the fastest.
against() { # COUNT UNIT SECONDS AT-LEAST
    ((${#peer_rows[@]})) || return 0
    printf '%s\n' "${peer_rows[@]}" | sort -g | awk -F'\t' -v count="$1" -v unit="$2" -v ours="$3" -v least="$4" '{
        asked = NR == 1 && least != "-"
        printf "  %-40s %9.1f %-8s %5.2f times as fast %s\n", $2, count / $1, unit, $1 / ours,
            asked ? sprintf("at least %.2f %s", least, $1 / ours < least ? "MISSED" : "ok") : ""
        missed += asked && $1 / ours < least
    } END { exit missed > 0 }' || status=$((status > 1 ? status : 1))
    peer_rows=()
}

peers_train() { # MODEL DTYPE LENGTH COUNT UPDATES
    [[ -n $has_torch ]] || return 0
    local how
    for how in eager compiled; do
        peer "torch, $how$([[ $2 != bf16 ]] || echo ', autocast bf16')" drive train "$1" "$2" "$how" "$3" "$4" "$5" "$threads"
    done
}
gguf_of() { # MODEL F32|BF16 -> $gguf
    gguf=$work/$2.gguf
    [[ -e $gguf ]] || drive gguf "$1" "$gguf" "$2"
}
gguf_type() { if [[ $1 == bf16 ]]; then echo BF16; else echo F32; fi; }
peers_score() { # MODEL DTYPE LENGTH COUNT
    local how gguf
    [[ -n $has_torch ]] || return 0
    for how in eager compiled; do
        peer "torch, $how, $2" drive score "$1" "$2" "$how" "$3" "$4" "$threads"
    done
    gguf_of "$1" "$(gguf_type "$2")"
    [[ -z $has_bindings ]] || peer "llama.cpp, ${gguf##*/}, all logits" drive logits "$gguf" "$3" "$4" "$threads"
    [[ -z $has_llama ]] || llama-bench -m "$gguf" -p "$3" -n 0 -t "$threads" -o json 2>"$work/peer.log" |
        jq -r '.[0] | "  llama.cpp, prompts: \(.avg_ts * 10 | round / 10) tokens/s (without logits: other work)"'
}
# The least seconds of two runs; one in some ends with status 0 and without a line, its last output lost.
batched() { # GGUF IN-FLIGHT TOKENS
    local tries=6 times=() line
    while ((tries-- && ${#times[@]} < 2)); do
        line=$(llama-batched-bench -m "$1" -c $((256 * $2)) -b 2048 -ub 512 -npp 16 -ntg "$3" -npl "$2" -t "$threads" \
            -tb "$threads" --output-format jsonl 2>"$work/peer.log" | jq '.t_tg // empty') || return 1
        [[ -z $line ]] || times+=("$line")
    done
    ((!${#times[@]})) || printf '%s\n' "${times[@]}" | sort -g | head -1
}
peers_draw() { # MODEL DTYPE IN-FLIGHT TOKENS
    local gguf
    [[ -n $has_batched ]] || return 0
    gguf_of "$1" "$(gguf_type "$2")"
    peer "llama.cpp, ${gguf##*/}" batched "$gguf" "$3" "$4"
}
