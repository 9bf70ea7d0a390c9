# SPDX-License-Identifier: MIT
# An explicit reward: RFT, and what its score becomes when it is shared out to all tokens.
# RFT: options of rft; DPR_OPTIMIZER; MAX_NEW_TOKENS; and budget.mk

# Demonstrations of a round: pairs that the reward model learns from, each once.
RFT_ROUNDS ?= 3
RFT_PAIRS  ?= $$(($(UPDATES) * $(PROMPTS) / $(RFT_ROUNDS)))
RFT        ?= --reward-batch-size 32 --reward-learning-rate 3e-4
# A policy that is a hundred times smaller than the authors' needs a larger rate, and the one of DPR
# is tuned as all are.

# $(1): rounds
in_rounds = --rounds $(1) --steps $$((($(UPDATES) + $(1) - 1) / $(1)))

title.rft           := RFT
options.rft          = $(call in_rounds,$(RFT_ROUNDS))
title.abc           := ABC
options.abc          = $(call in_rounds,1) --credit attention --baseline position
title.abc-uniform   := ABC, shared out evenly
options.abc-uniform  = $(call in_rounds,1) --credit uniform --baseline position

# $(1): arm, $(2): whose factor it has
define rft_arm
KNOWN      += $$(call where,$(1))
DRAWS      += $(1)
needs.$(1) := sft
tuned.$(1) := $(2)
define model.$(1)
rm -rf $$$$A.rounds
toks head -q -n $$$$(($$(RFT_ROUNDS) * $$(RFT_PAIRS))) $$$$S/demos.toks -o $$$$A.slices
rft -m $$$$S/sft -o $$$$A $$(options.$(1)) --batch-size $$(PROMPTS) -n $$(SAMPLES) \
    --max-new-tokens $$(MAX_NEW_TOKENS) $$$$(scaled $$(RATE)) $$(RFT) \
    --samples $$$$A.samples.toks --metrics $$$$A.metrics.jsonl "$$$${common[@]}" $$$$A.slices -- $$(DPR_OPTIMIZER)
for round in $$$$A.rounds/*/; do
    n=$$$$(basename $$$$round)
    cp $$$$round/reward.jsonl $$$$A.reward-$$$$n.metrics.jsonl
    toks view $$$$round/pairs.toks | jq -c 'select(.columns or .role == "sample")' | toks view -b -o $$$$A.pairs-$$$$n.toks
done
rm -rf $$$$A.rounds $$$$A.slices
endef
endef
$(eval $(call rft_arm,rft,rft))
$(eval $(call rft_arm,abc,abc))
$(eval $(call rft_arm,abc-uniform,abc))
