# SPDX-License-Identifier: MIT
# Dense-Path REINFORCE against each reference, with each kind of credit, and as published.
# DPR: options of dpr; DPR_OPTIMIZER: of reinforce-step; FLOOR; MAX_NEW_TOKENS
#
# All take the factor that was chosen for dpr-half: they differ from it in what their title says. But that
# rate suits what the stop rule ends early. Without the rule, without the floor or against other references the
# best rate is another one, so that a row of these tells what a change does at that rate, and not what the
# changed method is worth.

floor   = --floor $(FLOOR)
stopped = --held-out $$S/stop.jsonl --threshold $$A.threshold

title.dpr-half             := DPR, reference half
options.dpr-half            = --reference half $(floor) $(stopped)
title.dpr-quarter          := DPR, reference quarter
options.dpr-quarter         = --reference 0.25 $(floor) $(stopped)
title.dpr-three-quarters   := DPR, three quarters
options.dpr-three-quarters  = --reference 0.75 $(floor) $(stopped)
title.dpr-base             := DPR, reference base
options.dpr-base            = --reference $$S/base $(floor) $(stopped)
title.dpr-several          := DPR, all three of these
options.dpr-several         = --reference 0.25,half,0.75 $(floor) $(stopped)
title.dpr-none             := DPR, no reference
options.dpr-none            = --reference none $(stopped)
# What the stop rule saves from, and what it costs.
title.dpr-on               := DPR, half, never stopped
options.dpr-on              = --reference half $(floor)
# The paper has neither floor nor stop rule.
title.dpr-paper            := DPR, no floor, no stop
options.dpr-paper           = --reference half --floor 0
title.dpr-paper-quarter    := as this, quarter
options.dpr-paper-quarter   = --reference 0.25 --floor 0
title.dpr-paper-base       := as this, base
options.dpr-paper-base      = --reference $$S/base --floor 0
title.dpr-paper-none       := as this, no reference
options.dpr-paper-none      = --reference none --floor 0

# Returns of another size need a baseline of their kind: that of the position. The first of these
# differs from dpr-half in the baseline alone, the others from the first in one thing.
position = --reference half --baseline position $(floor) $(stopped)
title.dpr-position         := DPR, half, by position
options.dpr-position        = $(position)
title.dpr-gamma-0          := as this, γ = 0
options.dpr-gamma-0         = $(position) --gamma 0
title.dpr-gamma-50         := as this, γ = 0.5
options.dpr-gamma-50        = $(position) --gamma 0.5
title.dpr-gamma-90         := as this, γ = 0.9
options.dpr-gamma-90        = $(position) --gamma 0.9
title.dpr-gamma-99         := as this, γ = 0.99
options.dpr-gamma-99        = $(position) --gamma 0.99
title.dpr-sequence         := as this, sequence
options.dpr-sequence        = $(position) --credit sequence
title.dpr-uniform          := as this, uniform
options.dpr-uniform         = $(position) --credit uniform
title.dpr-last             := as this, last token
options.dpr-last            = $(position) --credit last

DPR_ARMS := dpr-half dpr-quarter dpr-three-quarters dpr-base dpr-several dpr-none dpr-on \
	dpr-paper dpr-paper-quarter dpr-paper-base dpr-paper-none \
	dpr-position dpr-gamma-0 dpr-gamma-50 dpr-gamma-90 dpr-gamma-99 dpr-sequence dpr-uniform dpr-last

# $(1): arm
define dpr_arm
KNOWN      += $(1)
DRAWS      += $(1)
needs.$(1) := base sft
files.$(1) := stop.jsonl
tuned.$(1) := dpr-half
define model.$(1)
dpr -m $$$$S/sft -o $$$$A --overwrite $$$$(scaled $$(DPR)) $$(options.$(1)) --max-new-tokens $$(MAX_NEW_TOKENS) \
    --samples $$$$A.samples.toks --metrics $$$$A.metrics.jsonl "$$$${common[@]}" $$$$S/demos.jsonl -- -q $$(DPR_OPTIMIZER)
endef
endef
$(foreach a,$(DPR_ARMS),$(eval $(call dpr_arm,$a)))
