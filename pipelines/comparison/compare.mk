# SPDX-License-Identifier: MIT
# The comparison on one task as a graph: what is there and was made from the same is not made again.
# `compare` runs it; by hand: make -f pipelines/comparison/compare.mk OUT=out/compare SEEDS='1 2 3' -j2
#
# A task is a directory with demos.jsonl, test.jsonl and score: see files.mk; or with
#   model/      configuration and tokenizer of a model, initialised for each seed; or BASE := DIR in
#               recipe.mk, a model to start from
#   generate    --n N --seed N [--held-out]: demonstrations as JSONL
#   score       adds "score" to JSONL {"id","prompt","completion"}, and other members that MEASURES
#               names
#   measure     may be absent: -m MODEL prints lines NAME<TAB>VALUE of what is measured on the
#               model itself; it runs in the folder of the seed
#   recipe.mk   sizes and settings; WITHOUT: patterns of arms that are left out; MEASURES [score];
#               KEEP_COLUMNS: members of the held-out records that `score` gets beside prompt and
#               completion [all]; PRIMARY [sampled]: the measure that tuning looks at
#
# An arm is a file of arms/: see arms/README.md.
#
# In OUT:
#   seed-S/demos.jsonl, demos.toks          what the model learns from
#   seed-S/test.jsonl, stop.jsonl, valid.jsonl   held out: for the score, the stop rule and tuning
#   seed-S/base, sft, ARM                   models; ARM.done when the run is complete
#   seed-S/ARM.metrics.jsonl                training curves
#   seed-S/ARM.*.toks                       what was sampled or scored
#   seed-S/ARM.updates.tsv                  score of what DPR drew for each update
#   seed-S/ARM.answers.sampled, .greedy     scored completions
#   seed-S/ARM.tsv, ARM.cost.tsv            measures, and what they cost
#   seed-S/precheck.tsv, precheck.txt       S(h) before any update (first seed only)
#   seed-T/ARM@X...                         trials of tuning
#   inputs/NAME.sh                          what is run, and checksums of the programs that run it
#   tune/ARM.choice                         the chosen factor
#   results.tsv     task, arm, seed, measure, value
#   cost.tsv        task, arm, seed, tokens trained, sampled, scored, updates, seconds, memory
#   tuned.tsv       task, arm, factor, value on the validation split, `chosen` or `-`
#   asked.tsv       task, arm, seed, title: what was asked for, in the order of the table

PIPELINES := $(patsubst %/comparison/,%,$(dir $(lastword $(MAKEFILE_LIST))))
TASK      ?= $(PIPELINES)/tasks/annotators
OUT       ?= out/compare
SEEDS     ?= 1 2 3
THREADS   ?= 1
# Tuning: a seed of its own, and factors on each arm's learning rate or other strength.
TUNE      ?= no
TUNE_SEED ?= 1001
GRID      ?= 0.333 1 3

SHELL := /bin/bash
.SHELLFLAGS := -e -o pipefail -c
.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all known absent sizes prepare FORCE
all:

, := ,
include $(sort $(wildcard $(PIPELINES)/comparison/arms/*.mk))
known:
	@echo $(KNOWN)

# Several tasks: each is a graph of its own, in a folder of OUT, and all share the jobs.
ifdef TASKS
all prepare: $(TASKS)
.PHONY: $(TASKS)
$(TASKS):
	@$(MAKE) --no-print-directory -f $(PIPELINES)/comparison/compare.mk TASK=$@ OUT=$(OUT)/$(notdir $@) TASKS= SEVERAL=yes $(filter prepare,$(MAKECMDGOALS))
else

FILES := $(if $(wildcard $(TASK)/generate),,$(TASK))
ifneq ($(FILES),)
include $(PIPELINES)/comparison/files.mk
-include $(TASK)/recipe.mk
else
include $(TASK)/recipe.mk
ifndef KEEP_COLUMNS
KEEP_COLUMNS := $(shell $(TASK)/generate --held-out --n 1 --seed 1 2>/dev/null | $(PIPELINES)/comparison/records fields 2>/dev/null)
endif
endif
NAME       ?= $(lastword $(notdir $(abspath $(TASK))))
MEASURES   ?= score
PRIMARY    ?= sampled
VALIDATION ?= $(HELD_OUT)
MODEL      := $(or $(BASE),$(patsubst %/config.json,%,$(wildcard $(TASK)/model/config.json)),$(if $(FILES),$(PIPELINES)/comparison/model,$(TASK)/model))

# A look in a few minutes. A model that is there already keeps its rates.
QUICK ?= no
ifeq ($(QUICK),yes)
least = $(shell echo $$(($(1) < $(2) ? $(1) : $(2))))
HELD_OUT  := $(if $(FILES),$(call least,100,$(HELD_OUT)),100)
STOP_RULE := $(if $(FILES),$(call least,100,$(STOP_RULE)),100)
PRECHECK  := 10
BEST_OF   := 4
ifdef BASE
QUICKER = $(subst $(1) $(call after,$(1),$(2)),$(1) $(3),$(2))
SFT       += --max-steps 100
CONTINUED += --max-steps 10
DPR       := $(call QUICKER,--steps,$(DPR),10)
else
SFT       := --batch-size 64 --max-steps $(if $(FILES),400 --lr-scheduler-type linear,100) --learning-rate 3e-3 --warmup-steps 20
CONTINUED := --batch-size 128 --max-steps 10 --learning-rate 3e-4
DPR       := --steps 10 --batch-size 32 -n 4 --learning-rate 3e-4
endif
endif

# What `compare` says before it starts: demonstrations, tests, stop rule, model, members kept.
sizes:
	@printf '%s\t' $(NAME) $(DEMONSTRATIONS) $(HELD_OUT) $(STOP_RULE) $(MODEL) '$(if $(BASE),start,fresh)' '$(or $(KEEP_COLUMNS),-)' && echo '$(MAX_NEW_TOKENS)'

# The model that the task starts from, when it is not there.
absent:
	@[ -z '$(BASE)' ] || [ -e '$(BASE)/config.json' ] || echo '$(BASE)'

# A program of the tree, or of PATH: as lib/pipeline.bash finds them.
# The shell makes the paths whole: the tree's own may hold spaces.
quoted = '$(subst ','\'',$(1))'
ifndef BIN
BIN := $(shell cd -P $(call quoted,$(PIPELINES)/../bin) 2>/dev/null && [ -x toks ] && pwd)
endif
export BIN
export PATH := $(if $(value BIN),$(shell cd $(call quoted,$(value BIN)) && pwd):)$(shell cd $(call quoted,$(PIPELINES)) && pwd):$(value PATH)

ARMS ?= sft continued $(filter-out sft continued $(WITHOUT),$(KNOWN))
$(foreach a,$(ARMS),$(if $(filter $a,$(KNOWN)),,$(error there is no arm '$a'; there are: $(KNOWN))))
$(if $(findstring .,$(KNOWN)),$(error names of arms have no dots))
# And those that they need.
tuned  = $(and $(filter yes,$(TUNE)),$(tuned.$(1)))
wanted = $(sort $(1) $(foreach a,$(1),$(call wanted,$(needs.$a) $(filter-out $a,$(call tuned,$a)))))
MADE := $(call wanted,$(ARMS))

# ---- what is run ----

# OUT/inputs/NAME.sh changes when its text does, or the bytes of a program that it names.
inputs = $(patsubst %,$(OUT)/inputs/%.sh,$(1))
define newline


endef
$(OUT)/inputs/sums: FORCE
	@mkdir -p $(@D)
	@$(PIPELINES)/comparison/arms/inputs --sums $(TASK) >$@

PARTS = $(TASK) $(DEMONSTRATIONS) $(HELD_OUT) $(STOP_RULE) $(VALIDATION)
ifneq ($(FILES),)
text.task = $(RECORDS) $(PARTS) $(shell cat $(TASK)/demos.jsonl $(TASK)/test.jsonl | cksum)
else
text.task = $(TASK)/generate --n $(DEMONSTRATIONS) --held-out $(HELD_OUT) $(STOP_RULE) $(VALIDATION)
endif
text.base     = model init $(BASE)
text.precheck = precheck $(PRECHECK) $(MAX_NEW_TOKENS) $(FLOOR) $(TASK)/score
text.results  = $(NAME) $(SEEDS) $(ARMS) $(TUNE) $(GRID)
text.answered = # evaluate $(TASK)/score
ANSWER = --max-new-tokens $(MAX_NEW_TOKENS) $(addprefix --keep-columns ,$(KEEP_COLUMNS))
define text.score
# evaluate $(TASK)/score $(TASK)/measure
measured $$A
answer $$A 1 $(ANSWER)
rows $(NAME) $(MEASURES)
endef
$(foreach a,$(KNOWN),$(eval text.$a = $$(or $$(model.$a),$$(text.answered)$$(newline)$$(answers.$a)$$(newline)rows $$(NAME) $$(MEASURES))))

# With PREPARED they are as `prepare` left them: what `make -n` prints then is what there is to do.
$(OUT)/inputs/%.sh: $(if $(PREPARED),,$(OUT)/inputs/sums FORCE)
	@$(file >$@.new,$(text.$*))$(PIPELINES)/comparison/arms/inputs $< $@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi
prepare: $(call inputs,task base precheck results score $(MADE))

# ---- data and the fresh model ----

ifneq ($(FILES),)
$(foreach p,demos test stop valid,$(OUT)/seed-%/$p.jsonl): $(call inputs,task)
	@mkdir -p $(@D)
	@for part in demos test stop valid; do $(RECORDS) $$part $(PARTS) >$(@D)/$$part.jsonl; done
else
$(OUT)/seed-%/demos.jsonl: $(call inputs,task)
	@mkdir -p $(@D)
	@$(TASK)/generate --n $(DEMONSTRATIONS) --seed $* >$@

$(OUT)/seed-%/held-out.jsonl: $(call inputs,task)
	@mkdir -p $(@D)
	@$(TASK)/generate --held-out --n $$(($(HELD_OUT) + $(STOP_RULE) + $(VALIDATION))) --seed $* >$@

$(OUT)/seed-%/test.jsonl: $(OUT)/seed-%/held-out.jsonl
	@sed -n '1,$(HELD_OUT)p' $< >$@

$(OUT)/seed-%/stop.jsonl: $(OUT)/seed-%/held-out.jsonl
	@sed -n "$$(($(HELD_OUT) + 1)),$$(($(HELD_OUT) + $(STOP_RULE)))p" $< >$@

$(OUT)/seed-%/valid.jsonl: $(OUT)/seed-%/held-out.jsonl
	@sed "1,$$(($(HELD_OUT) + $(STOP_RULE)))d" $< >$@
endif

$(OUT)/seed-%/base.done: $(call inputs,base) $(wildcard $(MODEL)/*)
	@mkdir -p $(@D)
	@rm -rf $(@D)/base
ifdef BASE
	@cp -rL $(BASE) $(@D)/base && chmod -R u+w $(@D)/base
else
	@model init -q $(MODEL) -o $(@D)/base --seed $*
endif
	@find $(@D)/base -type f -print0 | sort -z | xargs -0 cat | sha256sum >$@

$(OUT)/seed-%/demos.toks: $(OUT)/seed-%/demos.jsonl $(OUT)/seed-%/base.done
	@tok -q -m $(@D)/base $(TOK_DEMOS) $< -o $@

# ---- arms ----

stage = $(PIPELINES)/comparison/arms/stage -o $@ -s $< --seed $* --threads $(THREADS) --task $(TASK) $(QUIET)
of = $(if $(SEVERAL),$(NAME)$(,) )
made = $(addprefix $(OUT)/seed-%/,$(addsuffix .done,$(needs.$(1))) $(files.$(1)))

# $(1): arm, $(2): its name in files, $(3): options that give it the factor, $(4): the file to
# answer, $(5): what the factor depends on
define trained
$$(OUT)/seed-%/$(2).done: $$(call inputs,$(1)) $$(OUT)/seed-%/demos.toks $$(call made,$(1)) $(5)
	@$$(stage) $(3) --say '$$(of)seed $$*: $$(title.$(1))$(if $(filter $(1),$(2)),, ($(2)))' $$(filter $$(@D)/%,$$^)
$$(OUT)/seed-%/$(2).tsv: $$(call inputs,score) $$(OUT)/seed-%/$(2).done $$(OUT)/seed-%/$(4)
	@$$(stage) --prompts $$(@D)/$(4) --say '$$(of)seed $$*: score of $(2)' $$(@D)/$(2).done
endef
define answered
$$(OUT)/seed-%/$(2).tsv: $$(call inputs,$(1)) $$(OUT)/seed-%/$(4) $$(call made,$(1)) $(5)
	@$$(stage) $(3) --prompts $$(@D)/$(4) --say '$$(of)seed $$*: $$(title.$(1))$(if $(filter $(1),$(2)),, ($(2)))' \
		$$(filter-out $$(@D)/$(4),$$(filter $$(@D)/%,$$^))
endef
rules = $(if $(model.$(1)),$(trained),$(answered))
choice = $(OUT)/tune/$(1).choice
$(foreach a,$(MADE),$(eval $(call rules,$a,$a,$(if $(call tuned,$a),--choice $(call choice,$(tuned.$a))),test.jsonl,$(if $(call tuned,$a),$(call choice,$(tuned.$a))))))

# ---- tuning ----

# The factor with the highest value on the validation split of a seed that is not reported; the
# smaller one where values are equal.
TUNED := $(sort $(foreach a,$(MADE),$(call tuned,$a)))
define trial
$(foreach x,$(GRID),$(call rules,$(1),$(1)@$x,-x $x,valid.jsonl)$(newline))
$$(OUT)/tune/$(1).choice: $$(GRID:%=$$(OUT)/seed-$$(TUNE_SEED)/$(1)@%.tsv)
	@mkdir -p $$(@D)
	@$$(PIPELINES)/comparison/arms/choose $$(PRIMARY) $$(GRID:%=$$(OUT)/seed-$$(TUNE_SEED)/$(1)@%.tsv) >$$@.new || rm -f $$@ $$@.new
	@if [ ! -e $$@.new ] || cmp -s $$@.new $$@; then rm -f $$@.new; else mv $$@.new $$@; fi
endef
$(foreach a,$(TUNED),$(eval $(call trial,$a)))

# ---- before any update, and the score of what was drawn for each ----

# Of two files, tests alone need to have what the score reads.
ASKED_BEFORE := $(if $(FILES),test,stop)
$(OUT)/seed-%/precheck.tsv: $(call inputs,precheck) $(OUT)/seed-%/sft.done $(OUT)/seed-%/$(ASKED_BEFORE).jsonl
	@[ -e $(@D)/sft.done ] || exit 0; $(PIPELINES)/comparison/arms/say $(if $(QUIET),,'$(of)seed $*: check before any update'); \
		sed -n '1,$(PRECHECK)p' $(@D)/$(ASKED_BEFORE).jsonl >$(@D)/precheck.jsonl; \
		precheck -m $(@D)/sft --reference 0.25,half,0.75 --floor $(FLOOR) --score '$(TASK)/score' \
		--max-new-tokens $(MAX_NEW_TOKENS) $(addprefix --keep-columns ,$(KEEP_COLUMNS)) --tsv $@ \
		--seed $* --threads $(THREADS) $(@D)/precheck.jsonl >$(@D)/precheck.txt || \
		{ status=$$?; rm -f $@; [ $$status -lt 75 ] || exit $$status; }

$(OUT)/seed-%.updates.tsv: $(OUT)/seed-%.done
	@if [ -e $< ]; then tok -q -d -m $(@D)/sft $(@:.updates.tsv=.samples.toks) | $(TASK)/score | \
		jq -rs 'group_by(.step)[] | [.[0].step, (map(.score) | add / length)] | @tsv' >$@; fi

# ---- results ----

seeds = $(foreach s,$(SEEDS),$(foreach a,$(ARMS),$(OUT)/seed-$s/$a.$(1)))
trials = $(foreach a,$(TUNED),$(GRID:%=$(OUT)/seed-$(TUNE_SEED)/$a@%.tsv))
# What was drawn has no columns for the score to look at.
DRAWN := $(if $(KEEP_COLUMNS),,$(filter $(DRAWS),$(ARMS)))

# Task, arm, seed, title: what was asked for, in the order of the table.
$(OUT)/asked.tsv: $(call inputs,results)
	@{ $(foreach a,$(ARMS),for s in $(SEEDS); do printf '%s\t' $(NAME) $a $$s; echo '$(title.$a)'; done;) } >$@

$(OUT)/results.tsv: $(call inputs,results) $(call seeds,tsv) $(OUT)/asked.tsv
	@cat /dev/null $$(ls -d $(call seeds,tsv) 2>/dev/null) >$@

$(OUT)/cost.tsv: $(OUT)/results.tsv
	@for a in $(ARMS); do for s in $(SEEDS); do f=$(OUT)/seed-$$s/$$a.cost.tsv; [ ! -e $$f ] || \
		{ printf '%s\t%s\t%s\t' $(NAME) $$a $$s && cat $$f; }; done; done >$@

$(OUT)/tuned.tsv: $(call inputs,results) $(TUNED:%=$(OUT)/tune/%.choice)
	@$(PIPELINES)/comparison/arms/choose --list $(NAME) $(PRIMARY) '$(GRID)' $(OUT)/seed-$(TUNE_SEED) $(TUNED) >$@

all: $(OUT)/results.tsv $(OUT)/cost.tsv $(OUT)/tuned.tsv $(OUT)/seed-$(firstword $(SEEDS))/precheck.tsv \
	$(foreach s,$(SEEDS),$(DRAWN:%=$(OUT)/seed-$s/%.updates.tsv))
endif
