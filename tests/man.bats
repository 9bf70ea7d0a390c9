#!/usr/bin/env bats
# long
# Manual pages: the options are those that the programs list, and the examples run.
# shellcheck disable=SC2016
bats_require_minimum_version 1.5.0
load helpers

setup() {
    tree=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
    man=$tree/man
    PATH=$(cd "$BIN" && pwd):$PATH
    cd "$BATS_TEST_TMPDIR" || return
}

# ---- options ----

# The options of a program, or of one of its commands, as it lists them: `--name -l`.
listed() { # PROGRAM [COMMAND]
    "$@" --list-options | awk -F'\t' '
        { print "--" $1; if ($2 != "-") print "-" $2 }
        END { print "--help\n-h\n--version" }' | sort
}

# The same as the page has them: the items of its lists. With a command, those of its section and
# of the common options.
documented() { # PROGRAM [COMMAND]
    awk -v command="${2-}" -v program="$1" '
        /^\.S[hs] / {
            title = substr($0, 5)
            here = !command || title == program " " command || title == "Common options"
        }
        here && /^\.It Fl / {
            for (i = 2; i <= NF; i++)
                if ($i == "Fl")
                    print "-" $(i + 1)
        }' "$man/$1.1" | sort
}

same_options() { # PROGRAM [COMMAND]
    diff <(listed "$@") <(documented "$@") ||
        { echo "$* and its manual page know different options"; return 1; }
}

commands_of() { # PROGRAM
    "$1" --help | sed -nE '/^Commands/,/^$/s/^ *([a-z]+) .*/\1/p'
}

@test "each program's page has its options, and no others" {
    for program in tok sft-train logprob dense-reward novelty rollout ask reinforce-step pair-train reward-train tfevents; do
        same_options "$program"
    done
}

@test "so do the pages of programs with commands" {
    for program in toks model; do
        [ "$(commands_of $program | wc -l)" -ge 4 ]
        for command in $(commands_of $program); do
            same_options $program "$command"
        done
        diff <(commands_of $program | sort) \
            <(sed -n "s/^\.Ss $program //p" "$man/$program.1" | sort)
    done
}

@test "each program has a page, and each page of section 1 a program or a pipeline" {
    diff <(cd "$tree/bin" && printf '%s\n' *.c | sed 's/\.c$//' | sort) \
        <(cd "$man" && printf '%s\n' *.1 | grep -v '^densepath-' | sed 's/\.1$//' | sort)
    diff <(find "$tree"/pipelines{,/studies} -maxdepth 1 -type f -executable -printf '%f\n' | sort) \
        <(cd "$man" && printf '%s\n' densepath-*.1 | sed 's/^densepath-\(.*\)\.1$/\1/' | sort)
}

# Those that every pipeline has stand in densepath(1), and those of records that many have.
@test "each pipeline's page has the options of its table, and no others" {
    sed '/^\.Sh OPTIONS OF RECORDS/,/^\.Sh ENVIRONMENT/d' "$man/densepath.1" >every.1
    for page in "$man"/densepath-*.1; do
        name=${page##*/} && name=${name%.1}
        script=$(find "$tree"/pipelines{,/studies} -maxdepth 1 -name "${name#densepath-}")
        if grep -qx %records "$script"; then
            grep -q 'OPTIONS OF RECORDS' "$page"
            documented densepath >shared
        else
            man=. documented every >shared
        fi
        diff <(listed "$script" | sort -u) <({ documented "$name" && cat shared; } | sort -u) ||
            { echo "$name.1 and the pipeline know different options"; return 1; }
    done
}

@test "pages tell each program's default values" {
    # `The default is X.` or `the default` at the choice: the value stands in the item's text.
    for program in tok sft-train logprob dense-reward novelty rollout ask reinforce-step pair-train reward-train tfevents; do
        "$program" --list-options | awk -F'\t' '$4 != "" { print $1 "\t" $4 }' |
            while IFS=$'\t' read -r name value; do
                [[ $value != inf ]] || continue # what is off has no value to tell
                value=${value/e-0/e-}
                awk -v name="Fl -$name" -v value="$value" '
                    /^\.(It|El)/ { inside = $0 ~ name "( |$)" }
                    inside { text = text " " $0 }
                    END {
                        gsub(/[,.;:]( |$)/, " ", text)
                        gsub(/\.(Cm|Fl)/, "", text)
                        exit !(index(text " ", " " value " ") && text ~ /default/)
                    }' "$man/$program.1" ||
                    { echo "$program.1: --$name: the default $value is missing"; exit 1; }
            done
    done
}

@test "pages describe each choice of an option" {
    for program in tok sft-train logprob dense-reward novelty rollout ask reinforce-step pair-train reward-train tfevents; do
        # Words in capitals stand for what the user names.
        "$program" --list-options | awk -F'\t' '$3 ~ /[|]/ {
            n = split($3, choice, /[|]/)
            for (i = 1; i <= n; i++)
                if (choice[i] != toupper(choice[i])) {
                    sub(/[A-Z]+$/, "", choice[i])
                    print $1 "\t" choice[i]
                }
        }' | while IFS=$'\t' read -r name choice; do
            awk -v name="Fl -$name" -v choice="$choice" '
                /^\.(It Fl|S[hs]) / { inside = $0 ~ name "( |$)" }
                inside && /^\.(.* )?Cm / {
                    gsub(/[|]/, " ")
                    for (i = 1; i <= NF; i++)
                        found += $i == choice
                }
                END { exit !found }' "$man/$program.1" ||
                { echo "$program.1: --$name: $choice is not described"; exit 1; }
        done
    done
}

@test "pages describe the losses that a program has, and no others" {
    # The names in the item of --loss, and the losses that the program says it has.
    for program in sft-train reinforce-step pair-train; do
        "$program" --list-options | awk -F'\t' '$1 == "loss" { gsub(/\|/, "\n", $3); print $3 }' |
            sort >choices
        awk '/^\.(It|El)/ { inside = /^\.It Fl -loss / } inside && /^\.Cm / { print $2 }' \
            "$man/$program.1" | sort -u >described
        [ "$(wc -l <choices)" -ge 2 ]
        diff choices described || { echo "$program.1: losses"; return 1; }
    done
}

@test "each page names only pages that exist" {
    awk '/^\.Xr / { print $2 "." $3 }' "$man"/*.[157] | sort -u |
        grep -Ev '^(jq|cat|xargs|zstd)\.1$' | while read -r page; do
        [ -e "$man/$page" ] || { echo "$page"; exit 1; }
    done
}

@test "pages, README and --help call a pipeline as every copy can, installed or not" {
    # densepath NAME; pipelines/NAME is there in a tree only. Paths of files below it are no calls.
    names=$(find "$tree"/pipelines{,/studies} -maxdepth 1 -type f -executable -printf '%f\n' | paste -sd'|')
    [ "${#names}" -gt 100 ]
    for script in "$tree"/pipelines/{,rewards/,studies/}*; do
        [[ ! -x $script || -d $script ]] || sed -n "/^options .* <</,/^END$/s|^|${script##*/}: |p" "$script"
    done >tables
    [ "$(wc -l <tables)" -gt 500 ]
    run -1 grep -nE "pipelines/(studies/)?($names)([^[:alnum:]./-]|[.]?$|[.] )" "$man"/*.[157] "$tree/README.md" tables
}

@test "mandoc finds no fault" {
    command -v mandoc >/dev/null || skip 'needs mandoc'
    run -0 mandoc -T lint -W warning "$man"/*.[157]
    [ "$output" = '' ]
}

# The pages as a terminal of 80 columns has them, in one run of a formatter.
fit() { # COMMAND...
    LC_ALL=C.UTF-8 "$@" "$man"/*.[157] >pages
    [ "$(wc -l <pages)" -gt 4000 ]
    # Letters are struck over themselves to be bold.
    sed 's/.\x08//g' pages | LC_ALL=C.UTF-8 grep -E '^.{81,}' >wide || true
    [ ! -s wide ] || { cat wide; return 1; }
}

@test "pages fit 80 columns as groff sets them, and it warns of nothing" {
    command -v groff >/dev/null || skip 'needs groff'
    fit groff -ww -mandoc -Tutf8 -rLL=78n -P-cbou 2>warnings
    [ ! -s warnings ] || { cat warnings; return 1; }
}

@test "pages fit 80 columns as mandoc sets them" {
    command -v mandoc >/dev/null || skip 'needs mandoc'
    fit mandoc -T utf8 -O width=78
}

# ---- examples ----

# What the examples find: a model, demonstrations and what comes of them, as small as can be.
make_world() {
    (
        set -euo pipefail
        mkdir "$1" && cd "$1"
        cp -r "$tree/pipelines/tasks/annotators" "$tree/pipelines/rewards" .
        ln -s "$tree/pipelines" pipelines
        cp "$tree/tests/fuzz/gguf/llama-bpe.gguf" smol.gguf
        annotators/generate --n 48 >demos.jsonl
        model init annotators/model -o base --seed 1
        jq -c '.gold = (.prompt | rtrimstr("=") | split("+") | map(tonumber) | add | tostring)' \
            demos.jsonl >golds.jsonl
        printf '%s\n' '{"id":"f1","prompt":"sum","completion":"n+n","cases":"1=2 2=4"}' \
            '{"id":"f2","prompt":"sum","completion":"n+1","cases":"1=2 2=4"}' >functions.jsonl
        tok -q -m base demos.jsonl >demos.toks
        tok -q -m base --prompts demos.jsonl | toks head -n 16 >prompts.toks
        sft-train -q -m base -o sft --batch-size 8 --learning-rate 3e-3 --keep half,0.25 demos.toks
        cp -r sft copy
        rollout -q -m sft -n 4 --max-new-tokens 16 prompts.toks >rollouts.toks
        logprob -q -m sft --as sft <rollouts.toks | logprob -q -m sft/half --as half >both.toks
        dense-reward -q --floor 0 --baseline none sft half both.toks >samples.toks
        logprob -q -m sft --as sft demos.toks | logprob -q -m sft/half --as half |
            dense-reward -q --floor 0 --baseline none sft half >scored.toks
    )
}

setup_file() {
    BIN=$(cd "${BIN:-$BATS_TEST_DIRNAME/../bin}" && pwd)
    tree=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
    export world=$BATS_FILE_TMPDIR/world
    PATH=$BIN:$PATH make_world "$world"
}

# The literal displays of a section, as commands; a blank line between two of them.
examples() { # PAGE SECTION
    awk -v section="$2" '
        /^\.Sh / { here = substr($0, 5) == section }
        here && /^\.Ed/ { inside = 0; print "" }
        inside { gsub(/\\e/, "\\"); gsub(/\\-/, "-"); gsub(/\\&/, ""); print }
        here && /^\.Bd -literal/ { inside = 1 }' "$man/$1"
}

# The same with small sizes, where a line goes without any.
shorten() {
    local few='--steps 2 --batch-size 4 --max-new-tokens 8'
    sed -E "s/(^|[ (])sft-train /&--max-steps 2 /g
        s/--stages 5/--stages 2/
        s/(^|[ (])rollout /&--max-new-tokens 8 /g
        s/(densepath (dpr|irft|vote|mig|reinforce|prefix-rft)) /\\1 $few /
        s/(densepath (vote|prefix-rft)) /\\1 -n 2 /
        s/(densepath rft) /\\1 $few --rounds 2 --reward-batch-size 4 /
        s/(densepath best-of-sft) /\\1 --prompts 8 --rounds 2 --max-new-tokens 8 /
        s/(densepath (best-of|evaluate|win-rate)) /\\1 --max-new-tokens 8 /
        s/(densepath crossfit) /\\1 --folds 2 /"
}

run_examples() { # PAGE [SECTION [FILTER]]
    cp -r "$world" here
    cd here || return
    examples "$1" "${2:-EXAMPLES}" | "${3:-cat}" >commands
    [ -s commands ] || { echo "$1 has no examples"; return 1; }
    cat commands
    # What a page makes itself is not there before.
    ! grep -q -- "-o sft\( \|$\)" commands || rm -r sft
    # Each display is run with -e: a command that fails in it is a failure.
    bash -euo pipefail commands </dev/null
}

@test "examples of tok.1" {
    run_examples tok.1
    [ "$(jq -s length texts.jsonl)" -eq 96 ]
    toks view named.toks | jq -e 'select(.token) | .gold == 4' >/dev/null
}
@test "examples of sft-train.1" {
    run_examples sft-train.1
    [ -s sft/half/model.safetensors ]
}
@test "examples of logprob.1" {
    run_examples logprob.1
}
@test "examples of dense-reward.1" {
    run_examples dense-reward.1
    toks check mixed.toks rewarded.toks shared.toks held.toks sft-alone.toks endogenous.toks
}
@test "examples of novelty.1" {
    run_examples novelty.1
    toks check familiar.toks
}
@test "examples of rollout.1" {
    run_examples rollout.1
    toks check rollouts.toks steered.toks
}
@test "examples of reinforce-step.1" {
    run_examples reinforce-step.1
    [ "$(jq .generation dpr/densepath.json)" -ge 1 ]
    [ "$(jq .finished online/densepath.json)" = true ]
}
@test "examples of pair-train.1" {
    run_examples pair-train.1
    jq -se 'length == 4 and (.[0].loss - (2 | log) | fabs) < 1e-5' spin.jsonl
    [ "$(jq .generation online/densepath.json)" -eq 3 ]
}
@test "examples of densepath-irft.1" {
    run_examples densepath-irft.1
    jq -se '[.[].stage] == [1, 1, 1, 2, 2, 2] and [.[].step] == [range(1; 7)]' irft.jsonl
    [ -s irft/model.safetensors ]
    [ -s irft.stages/1/model.safetensors ]
    [ "$(jq .finished online/densepath.json)" = true ]
}
@test "examples of model.1" {
    run_examples model.1
    [ -s beyond/tokenizer.json ]
}
@test "examples of toks.1" {
    run_examples toks.1
    [ "$(toks stat -O json first.toks | jq .records)" -eq 16 ]
    grep -q '<html' reward.html
    [ "$(toks stat -O json exact.toks | jq .records)" -eq 48 ]
    [ "$(toks view tested.toks | jq -c "select(.token) | [.score, .answer]" | paste -sd " ")" = '[1,"2/2"] [0.5,"1/2"]' ]
    toks view voted.toks | jq -se '.[1:] | length == 64 and all(.score >= 0)'
    toks view gains.toks | jq -se '[.[1:][].gain] | length == 48 and add > 0'
    [ "$(toks stat -O json groups.toks | jq .records)" -eq 64 ]
}
@test "examples of densepath.1" {
    run_examples densepath.1
    [ -s better/model.safetensors ]
    [ -s best/model.safetensors ]
    run ! cmp -s better/model.safetensors best/model.safetensors
}
@test "examples of densepath-vote.1" {
    run_examples densepath-vote.1
    [ "$(jq .generation voted/densepath.json)" -eq 3 ]
}
@test "examples of densepath-mig.1" {
    run_examples densepath-mig.1
    [ "$(jq .generation stepwise/densepath.json)" -eq 3 ]
}
@test "examples of densepath-prefix-rft.1" {
    run_examples densepath-prefix-rft.1
    [ "$(jq .generation prefixed/densepath.json)" -eq 3 ]
}
@test "examples of densepath-reinforce.1" {
    run_examples densepath-reinforce.1
    [ "$(toks stat -O json scored.toks | jq .records)" -eq 24 ]
    [ "$(jq -s length familiar.jsonl)" -eq 3 ]
}
@test "examples of densepath-rft.1" {
    run_examples densepath-rft.1
    [ "$(jq -s length rft.jsonl)" -eq 4 ]
    toks view shared.toks | jq -se '.[1:] | length == 32 and all(.attention | length > 1)'
}
@test "examples of reward-train.1" {
    run_examples reward-train.1
    [ -s rm/model.safetensors ]
}
@test "examples of toks.5" {
    run_examples toks.5
    [ "$(toks view hand.toks | tail -1 | jq -c .mask)" = '[0,1]' ]
}
@test "examples of densepath-crossfit.1" {
    run_examples densepath-crossfit.1
    [ "$(toks stat -O json folds/chosen.toks | jq .records)" -eq 24 ]
    [ -s folds/selected/model.safetensors ]
    [ -s policy/model.safetensors ]
    [ -s reward.txt ]
}
@test "examples of densepath-known-expert-recovery.1" {
    run_examples densepath-known-expert-recovery.1
    grep -q 'half, floor (cross-fitted)' expert/recovery.tsv
}
@test "examples of densepath-compare.1" {
    run_examples densepath-compare.1
    grep -q 'weight extrapolation' table.txt
    [ "$(cut -f2,3 out/results.tsv | sort -u | wc -l)" -eq 6 ]
}
@test "examples of densepath-map.1" {
    run_examples densepath-map.1
    [ "$(wc -l <map/map.tsv)" -eq 11 ]
    awk -F"\t" "NF != 19 { exit 1 }" map/map.tsv
    grep -q "^</svg>" picture.svg
    grep -q "learned" picture.txt
}
@test "examples of densepath-best-of-sft.1" {
    run_examples densepath-best-of-sft.1
    [ -s better/model.safetensors ]
}
@test "examples of densepath-sft.1" {
    run_examples densepath-sft.1
    [ -s fine/0.75/model.safetensors ]
}
@test "examples of densepath-dpr.1" {
    run_examples densepath-dpr.1
    [ "$(jq .generation held/densepath.json)" -eq 2 ]
    [ "$(jq .generation whole/densepath.json)" -eq 2 ]
}
@test "examples of densepath-select.1" {
    run_examples densepath-select.1
    [ "$(toks stat -O json chosen.toks | jq .records)" -eq 16 ]
    [ "$(toks stat -O json third.toks | jq .records)" -eq 16 ]
    [ -s better/model.safetensors ]
}
@test "examples of densepath-best-of.1" {
    run_examples densepath-best-of.1
    [ "$(wc -l <best.jsonl)" -eq 48 ]
}
@test "examples of densepath-precheck.1" {
    run_examples densepath-precheck.1
    [ "$(wc -l <precheck.tsv)" -ge 6 ]
}
@test "examples of densepath-ranking.1" {
    run_examples densepath-ranking.1
}
@test "examples of densepath-crossfit-study.1" {
    run_examples densepath-crossfit-study.1
    [ "$(wc -l <study/ranking.tsv)" -eq 18 ]
    [ -s study/scores.tsv ]
    # All demonstrations count; the line of one reference, another way.
    pipelines/ranking -m study/seed-1/base --score pipelines/tasks/annotators/score study/seed-1/crossfit/rewarded.toks |
        cut -f1 | cmp - <(awk -F'\t' '$2 == "half, floor crossfitted" { print $3 }' study/ranking.tsv)
}
@test "examples of densepath-realdata.1" {
    run_examples densepath-realdata.1
    [ "$(wc -l <real/results.tsv)" -eq 4 ]
}
@test "examples of densepath-demo.1" {
    command -v gnuplot >/dev/null || skip 'needs gnuplot'
    run_examples densepath-demo.1
    for text in '^9 arms' 'DPR, reference half' '347+685=' 'it helps where'; do grep -q "$text" shown.txt; done
    for f in table.txt reward.html plots/{score,reward,gap,sft-loss,dpr-reward}.{svg,png}; do
        [ -s "shown/$f" ]
    done
    # It fits a terminal, has a line per result, and a name has one colour in all pictures.
    [ "$(LC_ALL=C.UTF-8 wc -L <shown.txt)" -le 80 ]
    grep -A 1 -x 'SFT on the best third' shown.txt | grep -q '^  sampled [-+0-9.e]*, above in [01] of 1 seeds: one seed decides nothing$'
    for f in score dpr-reward; do grep -q "<path stroke='rgb(217, 115,  13)'" "shown/plots/$f.svg"; done
    for f in score sft-loss; do grep -q "<path stroke='rgb( 31,  95, 168)'" "shown/plots/$f.svg"; done
    run ! grep -q "<path stroke='rgb( 31" shown/plots/dpr-reward.svg
}
@test "examples of tfevents.1" {
    run_examples tfevents.1
    for name in sft high low; do [ "$(find logs/$name -name '*tfevents*' | wc -l)" -eq 1 ]; done
    [ "$(jq .finished high/densepath.json)" = true ]
}
@test "examples of densepath-report.1" {
    run_examples densepath-report.1
    for page in report both answers; do [ "$(tail -n 1 $page.html)" = '</body></html>' ]; done
    grep -q '<h2>Settings that differ' both.html
    grep -q '<h2>Answers' answers.html
}
@test "examples of densepath-plot.1" {
    command -v gnuplot >/dev/null || skip 'needs gnuplot'
    run_examples densepath-plot.1
    for name in loss gap reward scores; do
        grep -q '</svg>' $name.svg
        [ -s $name.png ]
    done
}
@test "examples of densepath-table.1" {
    run_examples densepath-table.1
}
# In place of Slurm an sbatch that runs an array, and where GNU parallel is not installed, xargs.
stand_ins() {
    mkdir stand-ins
    printf '#!/bin/bash\nexec xargs -P 3 -n 1 "$@"\n' >stand-ins/parallel
    cat >stand-ins/sbatch <<'END'
#!/bin/bash
set -euo pipefail
[[ $# -eq 2 && $1 == --wait ]]
bash -n "$2"
range=$(sed -nE 's/^#SBATCH --array=([0-9]+-[0-9]+)$/\1/p' "$2")
# The last job first: their order does not matter.
for ((i = ${range#*-}; i >= ${range%-*}; i--)); do
    SLURM_ARRAY_TASK_ID=$i bash "$2"
done
END
    chmod +x stand-ins/*
    ! command -v parallel >/dev/null || rm stand-ins/parallel
    PATH=$PWD/stand-ins:$PATH
}
@test "examples of densepath-cluster.7: parts computed anywhere are the records of one program" {
    stand_ins
    run_examples densepath-cluster.7
    [ "$(find . -maxdepth 1 -name 'part.*.toks' | wc -l)" -eq 3 ]
    rollout -q -m sft -n 4 --max-new-tokens 8 --seed 1 --batch-size 6 prompts.toks |
        logprob -q -m sft --as sft | logprob -q -m sft/half --as half | dense-reward -q -o one.toks sft half
    toks view one.toks | tail -n +2 >one.jsonl
    [ "$(jq -s 'map(.step) | unique | length' one.jsonl)" -eq 3 ]
    for way in xargs parallel slurm make; do
        toks view "$way.toks" | tail -n +2 | cmp - one.jsonl
    done
    reinforce-step -q -m sft -o straight --learning-rate 1e-4 one.toks
    [ "$(jq .generation policy/densepath.json)" -ge 1 ]
    cmp policy/model.safetensors straight/model.safetensors
    # Rounds of one program, the last from the policy before it.
    [ "$(jq .generation rounds/densepath.json)" -eq 9 ]
    policy=sft again=()
    for updates in 3 6 9; do
        rollout -q -m $policy -n 4 --max-new-tokens 8 --seed 1 --batch-size 6 prompts.toks |
            logprob -q -m sft --as sft | logprob -q -m sft/half --as half | dense-reward -q -o round.toks sft half
        reinforce-step -q -m sft -o one --learning-rate 1e-4 --max-steps $updates "${again[@]}" round.toks
        policy=one again=(--resume)
    done
    cmp rounds/model.safetensors one/model.safetensors
    run ! cmp -s rounds/model.safetensors policy/model.safetensors
    # Parts of whole batches have what is computed over a batch.
    batched() { dense-reward -q --baseline batch --whiten position sft half "$1" | toks view | tail -n +2; }
    toks split --sequences 24 -o batch one.toks
    cmp <(for part in batch.*.toks; do batched "$part"; done) <(batched one.toks)
    # Another cut: scores and rewards of any records.
    logprob -q -m sft --as again one.toks | toks view | tail -n +2 >whole.jsonl
    toks split -n 3 -o cut one.toks
    for part in cut.*.toks; do logprob -q -m sft --as again "$part"; done | toks view | tail -n +2 |
        cmp - whole.jsonl
}
# What the tables name, a line each: an option or `.`, its program, and of toks and model the command.
migrations() {
    awk '
        /^\.(Bl|El)/ { inside = /^\.Bl -column/; next }
        !inside { next }
        sub(/^\.It .* Ta /, "") { program = command = "" } # ours is the second cell
        {
            for (i = 1; i < NF; i++)
                if ($i ~ /^\.?Fl$/)
                    print $(i + 1), program, command
                else if ($i ~ /^\.?Cm$/) {
                    if (program ~ /^(toks|model)$/ && !command)
                        command = $(i + 1)
                    else {
                        program = $(i + 1)
                        command = ""
                    }
                    print ".", program, command
                }
        }' "$man/densepath-migrate.7" | sort -u
}
@test "densepath-migrate.7: the programs, commands and options of its tables exist" {
    migrations >named
    [ "$(grep -c '^-' named)" -ge 60 ]
    cut -d' ' -f2- named | sort -u | while read -r program command; do
        # An option without a program is every program's.
        path=$(type -P "${program:-sft-train}" || echo "$tree/pipelines/$program")
        [ -x "$path" ] || { echo "no program $program"; exit 1; }
        [ -z "$command" ] || commands_of "$path" | grep -qx "$command" || { echo "no $program $command"; exit 1; }
        grep "^[^ ]* $program $command\$" named | cut -d' ' -f1 | grep -vx '[.]' >options || continue
        listed "$path" ${command:+"$command"} >list
        grep -vxF -f list <(sed 's/^/-/' options) >strange || continue
        echo "$program $command has no option $(<strange)"
        exit 1
    done
}
@test "examples of densepath-migrate.7" {
    run_examples densepath-migrate.7
    [ -s tuned/model.safetensors ]
    [ "$(jq .generation rloo/densepath.json)" -ge 1 ]
}
# Published sizes, made as small as can be.
made_small() {
    sed -E 's/--(steps|stages|rounds) [0-9]+/--\1 1/g; s/--(reward-)?batch-size [0-9]+/--\1batch-size 4/
        s/--max-new-tokens [0-9]+/--max-new-tokens 8/; s/ -n [0-9]+/ -n 2/'
}
@test "examples of densepath-recipes.7" {
    run_examples densepath-recipes.7 RECIPES made_small
    for name in paper floored; do [ "$(jq .generation $name/densepath.json)" -eq 1 ]; done
    for name in sft/half irft spin gsil dft osft rft prefixed voted; do [ -s $name/model.safetensors ]; done
}
@test "examples of densepath-models.7" {
    run_examples densepath-models.7
    [ -s fresh/model.safetensors ]
}
@test "examples of densepath.7" {
    run_examples densepath.7
    [ -s better/model.safetensors ]
    cd .. && rm -rf here
    run_examples densepath.7 SYNOPSIS
    [ "$(jq .finished dpr/densepath.json)" = true ]
}
@test "densepath.7: each method by the line that it names" {
    run_examples densepath.7 METHODS shorten
    for name in sft dft osft near better rounds gsil-{bernoulli,brier,hinge,kliep,lsif}; do
        [ -s "$name"/model.safetensors ]
    done
    for name in dpr-ema dpr-base dpr-last crossed mild mixed endogenous soft online rft abc even \
        familiar prefixed stepwise voted scored; do
        [ "$(jq .generation $name/densepath.json)" -ge 1 ]
    done
}
@test "densepath.7: rewards from outside, and evaluation" {
    run_examples densepath.7 'REWARDS FROM OUTSIDE' shorten
    [ "$(jq .generation exact/densepath.json)" -ge 1 ]
    [ "$(jq .generation tested/densepath.json)" -ge 1 ]
    cd .. && rm -rf here
    run_examples densepath.7 EVALUATION shorten
}
@test "examples of each program's --help name options that exist" {
    for program in tok sft-train logprob dense-reward novelty rollout ask reinforce-step pair-train reward-train tfevents; do
        "$program" --help | sed -n '/^Examples:/,/^$/p' | grep -oE -- ' --[a-z-]+' | sort -u |
            while read -r option; do
                cat "$man"/*.1 | grep -q "Fl -${option#--}\b" || { echo "$option"; exit 1; }
            done
    done
}
@test "examples of the pages of evaluation" {
    for name in evaluate win-rate reward-accuracy gap multiple-choice perplexity diversity export picture; do
        (run_examples "densepath-$name.1")
        case $name in
        export) jq -e 'length == 4 and all(.generator == "sft")' here/outputs.json ;;
        picture) grep -q '^</svg>' here/picture.svg ;;
        esac
        rm -rf here
    done
}
