# SPDX-License-Identifier: MIT
# SFT goes on with other losses, and with the model's own samples.
# CONTINUED: options of sft-train; DPR_OPTIMIZER; MAX_NEW_TOKENS; and budget.mk

OSFT_TEMPERATURE ?= 0.6

title.dft := SFT continued, DFT
KNOWN     += $(call where,dft)
needs.dft := sft
tuned.dft := dft
define model.dft
sft-train -m $$S/sft -o $$A --loss dft --metrics $$A.metrics.jsonl "$${common[@]}" "$${resume[@]}" \
    $$(scaled $(CONTINUED)) $$S/demos.toks
endef

# f-divergences look at what SFT said of the demonstrations that these updates see.
title.chi2      := as this, χ²
title.hellinger := as this, Hellinger
title.js        := as this, Jensen-Shannon

DIVERGENCE_ARMS := chi2 hellinger js

# $(1): arm
define divergence_arm
KNOWN      += $$(call where,$(1))
needs.$(1) := sft
tuned.$(1) := chi2
define model.$(1)
toks head -q -n $$$$(($$(UPDATES) * $$(PROMPTS) * $$(SAMPLES))) $$$$S/demos.toks | \
    logprob -q -m $$$$S/sft --as sft --threads $$$$threads -o $$$$A.scored.toks
sft-train -m $$$$S/sft -o $$$$A --loss $(1) --reference sft --metrics $$$$A.metrics.jsonl "$$$${common[@]}" \
    "$$$${resume[@]}" $$$$(scaled $$(CONTINUED)) $$$$A.scored.toks
endef
endef
$(foreach a,$(DIVERGENCE_ARMS),$(eval $(call divergence_arm,$a)))

# One sample a prompt from the policy of the update before, at a lower temperature than it is trained
# at: every token counts 1, which is the loss of SFT.
title.osft := SFT on own cold samples
KNOWN      += $(call where,osft)
DRAWS      += osft
needs.osft := sft
tuned.osft := osft
define model.osft
reinforce -m $$S/sft -o $$A --overwrite --steps $(UPDATES) --batch-size $$(($(PROMPTS) * $(SAMPLES))) -n 1 \
    --temperature $(OSFT_TEMPERATURE) --max-new-tokens $(MAX_NEW_TOKENS) $$(scaled $(RATE)) \
    --reward "toks view | jq -c '.score = 1 | if .columns then del(.score)
        | .columns += [{name: \"score\", type: \"f32\", per: \"sequence\"}] else . end' | toks view -b |
        dense-reward -q --reward score --baseline none" \
    --samples $$A.samples.toks --metrics $$A.metrics.jsonl "$${common[@]}" $$S/demos.jsonl -- --is none $(DPR_OPTIMIZER)
rm -rf $$A.rounds
endef
