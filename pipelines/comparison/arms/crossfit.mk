# SPDX-License-Identifier: MIT
# The reward of a demonstration, or a sample, by models that did not see that demonstration.
# SFT, CONTINUED: options of sft-train; SELECT_FROM: candidates; SELECT_TOP: how many of them; FLOOR

CROSSFIT_FOLDS       ?= 4
# Updates of DPR on the samples of one policy: each sample is scored by the models of its fold, which
# are started for each round.
CROSSFIT_ROUND_STEPS ?= 4

# The folds, trained as SFT is: no arm of its own.
tuned.crossfit-folds := sft
needs.crossfit-folds := base sft
title.crossfit-folds := models of folds
define model.crossfit-folds
rm -rf $$A
crossfit -m $$S/base -o $$A --folds $(CROSSFIT_FOLDS) --reference 0.25,half --floor $(FLOOR) \
    --metrics $$A.metrics "$${common[@]}" $$S/demos.toks -- -q $$(scaled $(SFT))
for metrics in $$A.metrics/*.jsonl; do
    mv $$metrics $$A.$$(basename $$metrics .jsonl).metrics.jsonl
done
rm -r $$A.metrics
cp $$A/rewarded.toks $$A.rewarded.toks
endef
text.crossfit-folds = $(model.crossfit-folds)

title.crossfit-quarter     := SFT, best cross-fitted
options.crossfit-quarter    = fold fold-0.25
title.crossfit-half        := as this, reference half
options.crossfit-half       = fold fold-half

# $(1): arm
define crossfit_arm
KNOWN      += $$(call where,$(1))
needs.$(1) := sft crossfit-folds
tuned.$(1) := crossfit-quarter
define model.$(1)
toks head -q -n $$(SELECT_FROM) $$$$S/crossfit-folds/rewarded.toks | \
    dense-reward -q --floor $$(FLOOR) --baseline none --threads $$$$threads $$(options.$(1)) | \
    toks select -q --by sum:reward --top $$(SELECT_TOP) -o $$$$A.chosen
sft-train -m $$$$S/sft -o $$$$A --metrics $$$$A.metrics.jsonl "$$$${common[@]}" "$$$${resume[@]}" $$$$(scaled $$(CONTINUED)) \
    $$$$A.chosen
rm $$$$A.chosen
endef
endef
$(eval $(call crossfit_arm,crossfit-quarter))
$(eval $(call crossfit_arm,crossfit-half))

title.crossfit-dpr := DPR, cross-fitted
KNOWN              += $(call where,crossfit-dpr)
needs.crossfit-dpr := sft crossfit-folds
files.crossfit-dpr := stop.jsonl
tuned.crossfit-dpr := dpr-half
define model.crossfit-dpr
rm -rf $$A.rounds
dpr -m $$S/sft -o $$A --overwrite --mode rounds --round-steps $(CROSSFIT_ROUND_STEPS) --cross-fitted $$S/crossfit-folds --reference half \
    $$(scaled $(DPR)) $(floor) $(stopped) --max-new-tokens $(MAX_NEW_TOKENS) \
    --metrics $$A.metrics.jsonl "$${common[@]}" $$S/demos.jsonl -- -q $(DPR_OPTIMIZER)
mapfile -t streams < <(ls -v $$A.rounds/*.toks)
toks cat -q --ids keep "$${streams[@]}" -o $$A.samples.toks
rm -r $$A.rounds
endef
