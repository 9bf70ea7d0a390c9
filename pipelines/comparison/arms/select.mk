# SPDX-License-Identifier: MIT
# SFT goes on with the demonstrations that the reward ranks highest.
# CONTINUED: options of sft-train; SELECT_FROM: candidates; SELECT_TOP: how many of them; FLOOR

title.best-third   := SFT on the best third
options.best-third  = --reference 0.25
title.best-half    := as this, reference half
options.best-half   = --reference half
title.best-base    := as this, reference base
options.best-base   = --reference $$S/base
title.best-none    := as this, lp_SFT alone
options.best-none   = --reference none

SELECT_ARMS := best-third best-half best-base best-none

# $(1): arm
define select_arm
KNOWN      += $(1)
needs.$(1) := base sft
tuned.$(1) := best-third
define model.$(1)
toks head -q -n $$(SELECT_FROM) $$$$S/demos.toks -o $$$$A.candidates
command select -m $$$$S/sft -o $$$$A $$(options.$(1)) --floor $$(FLOOR) --top $$(SELECT_TOP) --scored $$$$A.scored.toks \
    --metrics $$$$A.metrics.jsonl "$$$${common[@]}" $$$$A.candidates -- "$$$${resume[@]}" $$$$(scaled $$(CONTINUED))
rm $$$$A.candidates
endef
endef
$(foreach a,$(SELECT_ARMS),$(eval $(call select_arm,$a)))
