# SPDX-License-Identifier: MIT
# Other references, stop rules and rewards, and what methods reach that see the task's own score.
# DPR: options of dpr; DPR_OPTIMIZER: of reinforce-step; FLOOR; MAX_NEW_TOKENS; and budget.mk

# ---- of DPR ----

# Of the last updates of SFT; the average goes as far back as this share of all its updates.
EMA_SHARE ?= 0.25
# Updates that the stop rule looks at together.
WINDOW    ?= 5

# SFT once more, with an average beside it: no arm of its own.
title.sft-ema := SFT with an average
tuned.sft-ema := sft
needs.sft-ema := base sft
define model.sft-ema
n=$$(wc -l <$$S/sft.metrics.jsonl)
sft -m $$S/base -o $$A --metrics $$A.metrics.jsonl "$${common[@]}" $$S/demos.toks \
    -- "$${resume[@]}" $$(scaled $(SFT)) \
    --ema $$(awk -v n=$$n 'BEGIN { m = n * $(EMA_SHARE); printf "%.6f\n", (m > 1 ? 1 - 1 / m : 0.5) }')
endef
text.sft-ema = $(model.sft-ema)

title.dpr-ema             := DPR, reference average
options.dpr-ema            = --reference $$S/sft-ema/ema $(floor) $(stopped)
title.dpr-window          := DPR, half, windowed stop
options.dpr-window         = --reference half $(floor) $(stopped) --stop-window $(WINDOW)
title.dpr-window-quarter  := as this, quarter
options.dpr-window-quarter = --reference 0.25 $(floor) $(stopped) --stop-window $(WINDOW)

$(foreach a,dpr-ema dpr-window dpr-window-quarter,$(eval $(call dpr_arm,$a)))
needs.dpr-ema := base sft sft-ema

# ---- other rewards ----

# $(1): arm, $(2): options, $(3): the filter that makes advantages of samples
define reinforced
rm -rf $$A.rounds
reinforce -m $$S/sft -o $$A --overwrite $(2) --steps $(UPDATES) --batch-size $(PROMPTS) -n $(SAMPLES) \
    --max-new-tokens $(MAX_NEW_TOKENS) $$(scaled $(RATE)) \
    --reward "$(3)" --samples $$A.samples.toks --metrics $$A.metrics.jsonl "$${common[@]}" $$S/demos.jsonl -- $(DPR_OPTIMIZER)
rm -rf $$A.rounds
endef
# What stays of pipelines that work in rounds.
define kept_rounds
mapfile -t streams < <(ls -v $$A.rounds/*.toks)
toks cat -q --ids keep "$${streams[@]}" -o $$A.samples.toks
rm -r $$A.rounds
endef

# Demonstrations that the novelty reward knows.
NOVELTY_FROM ?= 2000

title.novelty := novelty (ReLOAD)
KNOWN         += $(call where,novelty)
DRAWS         += novelty
needs.novelty := sft
tuned.novelty := novelty
define model.novelty
toks head -q -n $(NOVELTY_FROM) $$S/demos.toks -o $$A.familiar
$(call reinforced,novelty,--online,novelty -q -m $$S/sft --demonstrations $$A.familiar --seed $$seed --threads $$threads |
        dense-reward -q --reward reward --baseline position --threads $$threads)
rm $$A.familiar
endef

# The answer is what stands after the last `;`, or all.
VOTE_ANSWER ?= .answer = (.completion | split(\";\") | last)

title.vote := vote of own samples
KNOWN      += $(call where,vote)
DRAWS      += vote
needs.vote := sft
tuned.vote := vote
define model.vote
rm -rf $$A.rounds
vote -m $$S/sft -o $$A --overwrite --answer 'jq -c "$(VOTE_ANSWER)"' --steps $(UPDATES) --batch-size $(OF_8) -n 8 \
    --max-new-tokens $(MAX_NEW_TOKENS) $$(scaled $(RATE)) --metrics $$A.metrics.jsonl "$${common[@]}" \
    $$S/demos.jsonl -- $(DPR_OPTIMIZER)
$(kept_rounds)
endef

# ---- what sees the score, or the answer: no rival of the others ----

title.prefix-rft := Prefix-RFT (sees score)
KNOWN            += $(call where,prefix-rft)
needs.prefix-rft := sft
tuned.prefix-rft := prefix-rft
define model.prefix-rft
rm -rf $$A.rounds
prefix-rft -m $$S/sft -o $$A --overwrite --score $(TASK)/score $(addprefix --keep-columns ,$(KEEP_COLUMNS)) \
    --steps $(UPDATES) --batch-size $(OF_8) -n 8 --max-new-tokens $(MAX_NEW_TOKENS) $$(scaled $(RATE)) \
    --metrics $$A.metrics.jsonl "$${common[@]}" $$S/demos.jsonl -- $(DPR_OPTIMIZER)
$(kept_rounds)
endef

title.verifier      := score alone (sees score)
verifier.verifier    = dense-reward -q --reward score --baseline loo
title.verifier-mix  := as this, with DPR half
verifier.verifier-mix = logprob -q -m $$S/sft --as sft --also $$S/sft/half:half --threads $$threads | \
	dense-reward -q --floor $(FLOOR) --mix 0.5:score --baseline loo sft half

# $(1): arm
define verifier_arm
KNOWN      += $$(call where,$(1))
DRAWS      += $(1)
needs.$(1) := sft
tuned.$(1) := $(1)
define model.$(1)
$$(call reinforced,$(1),,toks annotate -q -m $$$$S/sft -c score -- $$(TASK)/score | $$(verifier.$(1)))
endef
endef
$(eval $(call verifier_arm,verifier))
$(eval $(call verifier_arm,verifier-mix))

# The annotators' right answer, in four digits.
MIG_GOLD ?= .gold = (.prompt | rtrimstr("=") | split("+") | map(tonumber) | add | tostring)

title.mig := MIG (sees the answer)
KNOWN     += $(call where,mig)
DRAWS     += mig
needs.mig := sft
tuned.mig := mig
define model.mig
rm -rf $$A.rounds
jq -c '$(MIG_GOLD)' $$S/demos.jsonl >$$A.prompts.jsonl
mig -m $$S/sft -o $$A --overwrite --gold gold --end , --lead ';' --steps $(UPDATES) --batch-size $(PROMPTS) -n $(SAMPLES) \
    --max-new-tokens $(MAX_NEW_TOKENS) $$(scaled $(RATE)) --metrics $$A.metrics.jsonl "$${common[@]}" \
    $$A.prompts.jsonl -- $(DPR_OPTIMIZER)
rm $$A.prompts.jsonl
$(kept_rounds)
endef

# The annotators' prompts hold what the right answer follows from; the expert is stochastic, and a
# story has no answer to vote on.
NOT_ON_known-expert := mig vote
NOT_ON_sort         := mig
NOT_ON_sort-noisy   := mig
NOT_ON_stories      := mig vote prefix-rft verifier verifier-mix
