# SPDX-License-Identifier: MIT
# The comparison as a graph: what is there and newer than its inputs is not made again.
# `compare` runs it; by hand: make -f pipelines/compare.mk OUT=out/compare SEEDS='1 2 3' -j2
#
# A task is a directory with
#   model/      configuration and tokenizer of a model, initialised for each seed
#   generate    --n N --seed N [--held-out]: demonstrations as JSONL
#   score       adds "score" to JSONL {"prompt","completion"}
#   recipe.mk   sizes and settings
#
# Of each seed S, in OUT/seed-S:
#   demos.jsonl, demos.toks      what the model learns from
#   test.jsonl, stop.jsonl       held out: for the score, and for the stop rule
#   base, sft, ARM               models; ARM.done when the run is complete
#   ARM.metrics.jsonl            training curves
#   ARM.samples.toks             what DPR drew, with rewards; ARM.updates.tsv its score an update
#   precheck.tsv, precheck.txt   S(h) before any update (first seed only)
#   ARM.tsv                      arm, seed, prompts, score sampled, score greedy

PIPELINES := $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))
TASK      ?= $(PIPELINES)/annotators
OUT       ?= out/compare
SEEDS     ?= 1 2 3
THREADS   ?= 1
ARMS      ?= sft continued cold dpr-half dpr-quarter dpr-on dpr-paper best-third best-of

SHELL := /bin/bash
.SHELLFLAGS := -e -o pipefail -c
.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all FORCE

include $(TASK)/recipe.mk

all: $(OUT)/results.tsv

# A program of the tree, or of PATH: as lib.bash finds them.
export BIN ?= $(if $(wildcard $(PIPELINES)/../bin/toks),$(PIPELINES)/../bin)
export PATH := $(if $(BIN),$(abspath $(BIN)):)$(PATH)

S       = $(OUT)/seed-$*
, := ,
say     = @printf 'seed %s: %s\n' '$*' '$(1)' >&2;
common  = --seed $* --threads $(THREADS)

# Settings are inputs too: OUT/settings/NAME changes when they do.
settings = $(OUT)/settings/$(1)
SETTINGS.task      := $(DEMONSTRATIONS) $(HELD_OUT) $(STOP_RULE)
SETTINGS.sft       := $(SFT)
SETTINGS.continued := $(CONTINUED)
SETTINGS.dpr       := $(DPR) $(DPR_OPTIMIZER) $(FLOOR) $(MAX_NEW_TOKENS)
SETTINGS.select    := $(CONTINUED) $(FLOOR) $(SELECT_FROM) $(SELECT_TOP)
SETTINGS.score     := $(MAX_NEW_TOKENS) $(COLD)
SETTINGS.best-of   := $(MAX_NEW_TOKENS) $(BEST_OF) $(FLOOR)
SETTINGS.precheck  := $(PRECHECK) $(MAX_NEW_TOKENS) $(FLOOR)
SETTINGS.results   := $(SEEDS) $(ARMS)

$(OUT)/settings/%: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(SETTINGS.$*)' | cmp -s - $@ || printf '%s\n' '$(SETTINGS.$*)' >$@

# Data and the fresh model.
$(OUT)/seed-%/demos.jsonl: $(TASK)/generate $(call settings,task)
	@mkdir -p $(@D)
	@$(TASK)/generate --n $(DEMONSTRATIONS) --seed $* >$@

$(OUT)/seed-%/held-out.jsonl: $(TASK)/generate $(call settings,task)
	@mkdir -p $(@D)
	@$(TASK)/generate --held-out --n $$(($(HELD_OUT) + $(STOP_RULE))) --seed $* >$@

$(OUT)/seed-%/test.jsonl: $(OUT)/seed-%/held-out.jsonl
	@sed -n '1,$(HELD_OUT)p' $< >$@

$(OUT)/seed-%/stop.jsonl: $(OUT)/seed-%/held-out.jsonl
	@sed '1,$(HELD_OUT)d' $< >$@

$(OUT)/seed-%/base.done: $(wildcard $(TASK)/model/*)
	@mkdir -p $(@D)
	@rm -rf $(S)/base && model init -q $(TASK)/model -o $(S)/base --seed $* && touch $@

$(OUT)/seed-%/demos.toks: $(OUT)/seed-%/demos.jsonl $(OUT)/seed-%/base.done
	@tok -q -m $(S)/base $< -o $@

# Arms that train.
$(OUT)/seed-%/sft.done: $(OUT)/seed-%/demos.toks $(call settings,sft)
	$(call say,SFT)
	@rm -rf $(S)/sft && $(PIPELINES)/sft -m $(S)/base -o $(S)/sft --keep 0.25,half,0.75 \
		--metrics $(S)/sft.metrics.jsonl $(common) $< -- -q $(SFT) && touch $@

$(OUT)/seed-%/continued.done: $(OUT)/seed-%/sft.done $(call settings,continued)
	$(call say,SFT continued)
	@rm -rf $(S)/continued && sft-train -q -m $(S)/sft -o $(S)/continued $(common) $(CONTINUED) \
		--metrics $(S)/continued.metrics.jsonl $(S)/demos.toks && touch $@

$(OUT)/seed-%/best-third.done: $(OUT)/seed-%/sft.done $(call settings,select) $(PIPELINES)/select
	$(call say,SFT on the best $(SELECT_TOP) of the demonstrations)
	@rm -rf $(S)/best-third && toks head -q -n $(SELECT_FROM) $(S)/demos.toks -o $(S)/candidates.toks
	@$(PIPELINES)/select -m $(S)/sft -o $(S)/best-third --reference 0.25 --floor $(FLOOR) \
		--top $(SELECT_TOP) --stream $(S)/best-third.chosen.toks \
		--metrics $(S)/best-third.metrics.jsonl $(common) $(S)/candidates.toks \
		-- -q $(CONTINUED) && touch $@

dpr = rm -rf $(S)/$(1) && $(PIPELINES)/dpr -m $(S)/sft -o $(S)/$(1) $(2) $(DPR) \
	--max-new-tokens $(MAX_NEW_TOKENS) --samples $(S)/$(1).samples.toks \
	--metrics $(S)/$(1).metrics.jsonl $(common) $(S)/demos.jsonl -- -q $(DPR_OPTIMIZER) && touch $@
armed = --held-out $(S)/stop.jsonl --threshold $(S)/$(1).threshold

$(OUT)/seed-%/dpr-half.done: $(OUT)/seed-%/sft.done $(OUT)/seed-%/stop.jsonl $(call settings,dpr) \
		$(PIPELINES)/dpr
	$(call say,DPR against half)
	@$(call dpr,dpr-half,--reference half --floor $(FLOOR) $(call armed,dpr-half))

$(OUT)/seed-%/dpr-quarter.done: $(OUT)/seed-%/sft.done $(OUT)/seed-%/stop.jsonl \
		$(call settings,dpr) $(PIPELINES)/dpr
	$(call say,DPR against the quarter)
	@$(call dpr,dpr-quarter,--reference 0.25 --floor $(FLOOR) $(call armed,dpr-quarter))

# What the stop rule saves from, and what it costs.
$(OUT)/seed-%/dpr-on.done: $(OUT)/seed-%/sft.done $(call settings,dpr) $(PIPELINES)/dpr
	$(call say,DPR against half$(,) never stopped)
	@$(call dpr,dpr-on,--reference half --floor $(FLOOR))

# The paper has neither floor nor stop rule.
$(OUT)/seed-%/dpr-paper.done: $(OUT)/seed-%/sft.done $(call settings,dpr) $(PIPELINES)/dpr
	$(call say,DPR as published: no floor and no stop rule)
	@$(call dpr,dpr-paper,--reference half --floor 0)

# Scores. $(1): arm, $(2): model, $(3): temperatures, the sampled one first
score = $(PIPELINES)/evaluate -m $(S)/$(2) --score '$(TASK)/score' --temperature $(3) \
	--max-new-tokens $(MAX_NEW_TOKENS) --completions '$(S)/$(1).%t.jsonl' $(common) $(S)/test.jsonl | \
	awk -v OFS='\t' -v ORS= 'NR == 1 { print "$(1)", $*, $$2 } { print OFS $$3 } END { print "\n" }' >$@

$(OUT)/seed-%/cold.tsv: $(OUT)/seed-%/sft.done $(OUT)/seed-%/test.jsonl $(call settings,score) \
		$(TASK)/score $(PIPELINES)/evaluate
	$(call say,score of SFT sampled at temperature $(COLD))
	@$(call score,cold,sft,$(COLD)$(,)0)

$(OUT)/seed-%/best-of.tsv: $(OUT)/seed-%/sft.done $(OUT)/seed-%/test.jsonl \
		$(call settings,best-of) $(TASK)/score $(PIPELINES)/best-of
	$(call say,score of the best of $(BEST_OF) samples)
	@$(PIPELINES)/best-of -m $(S)/sft --reference 0.25 --floor $(FLOOR) -n $(BEST_OF) \
		--max-new-tokens $(MAX_NEW_TOKENS) $(common) $(S)/test.jsonl | $(TASK)/score | \
		jq -rs '["best-of", $*, length, (map(.score) | add / length), "-"] | @tsv' >$@

define scored
$$(OUT)/seed-%/$(1).tsv: $$(OUT)/seed-%/$(1).done $$(OUT)/seed-%/test.jsonl \
		$$(call settings,score) $$(TASK)/score $$(PIPELINES)/evaluate
	$$(call say,score of $(1))
	@$$(call score,$(1),$(1),1$$(,)0)
endef
$(foreach arm,$(filter-out cold best-of,$(ARMS)),$(eval $(call scored,$(arm))))

# The score of what DPR drew for each update (of training prompts: nothing is drawn twice for it).
$(OUT)/seed-%.updates.tsv: $(OUT)/seed-%.done $(TASK)/score
	@tok -q -d -m $(@D)/sft $(@:.updates.tsv=.samples.toks) | $(TASK)/score | \
		jq -rs 'group_by(.step)[] | [.[0].step, (map(.score) | add / length)] | @tsv' >$@

# Before any update: each kept fraction as the reference.
$(OUT)/seed-%/precheck.tsv: $(OUT)/seed-%/sft.done $(OUT)/seed-%/stop.jsonl \
		$(call settings,precheck) $(TASK)/score $(PIPELINES)/precheck
	$(call say,check before any update)
	@sed -n '1,$(PRECHECK)p' $(S)/stop.jsonl >$(S)/precheck.jsonl
	@$(PIPELINES)/precheck -m $(S)/sft --reference 0.25,half,0.75 --floor $(FLOOR) \
		--score '$(TASK)/score' --max-new-tokens $(MAX_NEW_TOKENS) --tsv $@ $(common) \
		$(S)/precheck.jsonl >$(S)/precheck.txt

updates = $(foreach s,$(SEEDS),$(patsubst %,$(OUT)/seed-$s/%.updates.tsv,$(filter dpr-%,$(ARMS))))

$(OUT)/results.tsv: $(foreach s,$(SEEDS),$(ARMS:%=$(OUT)/seed-$s/%.tsv)) $(updates) \
		$(call settings,results) $(OUT)/seed-$(firstword $(SEEDS))/precheck.tsv
	@cat $(filter-out %.updates.tsv %/precheck.tsv,$(filter %.tsv,$^)) >$@
