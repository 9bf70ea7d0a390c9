# SPDX-License-Identifier: MIT
# The reward without a policy gradient: the best of n samples, SFT on them, and extrapolation.
# BEST_OF: samples per prompt; FLOOR; MAX_NEW_TOKENS
# BEST_OF_SFT: options of best-of-sft; CONTINUED: of its sft-train
# EXPO, CONTRAST: how far weights, or logits, go on from the reference through SFT

KNOWN += best-of best-of-sft expo contrast
BEST_OF_SFT ?= --rounds 3 --prompts 640 -n 4 --steps 20
EXPO        ?= 0.25
CONTRAST    ?= 1

title.best-of := best of n samples
needs.best-of := sft
define answers.best-of
best-of -m $$S/sft --reference 0.25 --floor $(FLOOR) -n $(BEST_OF) --max-new-tokens $(MAX_NEW_TOKENS) \
    $(addprefix --keep-columns ,$(KEEP_COLUMNS)) --samples $$A.samples.toks "$${common[@]}" $$prompts | \
    $(TASK)/score >$$A.answers.sampled
endef

title.best-of-sft := SFT on best of n
needs.best-of-sft := sft
tuned.best-of-sft := best-of-sft
define model.best-of-sft
best-of-sft -m $$S/sft -o $$A --reference 0.25 --floor $(FLOOR) $(BEST_OF_SFT) --max-new-tokens $(MAX_NEW_TOKENS) \
    --samples $$A.samples.toks --metrics $$A.metrics.jsonl "$${common[@]}" --resume $$S/demos.jsonl \
    -- -q $$(scaled $(CONTINUED))
endef

title.expo := weight extrapolation
needs.expo := sft
tuned.expo := expo
define model.expo
a=$$(times_x $(EXPO))
model average -q $$S/sft:$$(awk -v a=$$a 'BEGIN { print 1 + a }') $$S/sft/0.25:-$$a -o $$A
endef

title.contrast := logit extrapolation
needs.contrast := sft
tuned.contrast := contrast
define answers.contrast
answer $$S/sft 1 $(ANSWER) -- --contrast $$S/sft/0.25:$$(times_x $(CONTRAST))
endef
