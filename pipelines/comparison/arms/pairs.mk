# SPDX-License-Identifier: MIT
# Demonstrations against the model's own samples: SPIN, IRFT and GSIL.
# DPR_OPTIMIZER: of all trainers; MAX_NEW_TOKENS; and budget.mk
#
# An update has as many sequences as one of DPR: half as many pairs, each with a demonstration.

PAIRS       ?= $$(($(PROMPTS) * $(SAMPLES) / 2))
IRFT_STAGES ?= 5

# GSIL's losses push the samples down without end: at the rate of DPR they end with no language at all.
GSIL_RATE   ?= --learning-rate $$(awk 'BEGIN { print 0.1 * $(lastword $(RATE)) }')

# $(1): stages: as many updates in all, rounded up to whole stages.
in_stages = --stages $(1) --steps $$((($(UPDATES) + $(1) - 1) / $(1)))

title.spin             := SPIN
options.spin            = $(call in_stages,1)
title.irft             := IRFT
options.irft            = $(call in_stages,$(IRFT_STAGES))
title.irft-online      := IRFT, new pairs each time
options.irft-online     = --online --steps $(UPDATES)
title.spin-hinge       := SPIN, hinge
options.spin-hinge      = $(call in_stages,1) --loss hinge
title.gsil-hinge       := GSIL, hinge
options.gsil-hinge      = $(call in_stages,1) --loss gsil-hinge
title.gsil-bernoulli   := GSIL, Bernoulli
options.gsil-bernoulli  = $(call in_stages,1) --loss gsil-bernoulli
title.gsil-brier       := GSIL, Brier
options.gsil-brier      = $(call in_stages,1) --loss gsil-brier
title.gsil-kliep       := GSIL, KLIEP
options.gsil-kliep      = $(call in_stages,1) --loss gsil-kliep
title.gsil-lsif        := GSIL, LSIF
options.gsil-lsif       = $(call in_stages,1) --loss gsil-lsif

PAIR_ARMS := spin irft irft-online gsil-hinge gsil-lsif

# $(1): arm. What was sampled and scored is kept in two streams for the costs: pairs have both.
define pair_arm
KNOWN      += $$(call where,$(1))
needs.$(1) := sft
tuned.$(1) := $(1)
define model.$(1)
rm -rf $$$$A.stages
toks head -q -n $$$$(($$(UPDATES) * $$(PAIRS))) $$$$S/demos.toks -o $$$$A.slices
irft -m $$$$S/sft -o $$$$A --overwrite $$(options.$(1)) --batch-size $$(PAIRS) --max-new-tokens $$(MAX_NEW_TOKENS) \
    $$$$(scaled $$($(if $(filter gsil-%,$(1)),GSIL_RATE,RATE))) --samples $$$$A.samples.toks --metrics $$$$A.metrics.jsonl "$$$${common[@]}" $$$$A.slices \
    -- -q --optim adamw --lr-scheduler-type constant $$(DPR_OPTIMIZER)
for pairs in $$$$A.stages/*.pairs.toks; do
    [[ -e $$$$pairs ]] || continue
    toks view $$$$pairs | jq -c 'del(."logp:rollout")
        | if .columns then .columns |= map(select(.name != "logp:rollout")) else . end' | toks view -b -o $$$$A.$$$${pairs##*/}
done
rm -rf $$$$A.stages $$$$A.slices
endef
endef
$(foreach a,$(PAIR_ARMS),$(eval $(call pair_arm,$a)))
