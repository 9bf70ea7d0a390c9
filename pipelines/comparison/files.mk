# SPDX-License-Identifier: MIT
# The recipe of a task that is two files and a score: demos.jsonl, test.jsonl, score. What the task's own
# recipe.mk says, where it has one, is read after this.
#   model/ or BASE     the model; without them the small one of ../comparison/model, which reads bytes and
#                      is made anew for each seed

RECORDS := $(PIPELINES)/comparison/records
SIZES   := $(shell $(RECORDS) sizes $(TASK))
$(if $(word 3,$(SIZES)),,$(error $(TASK): its records cannot be read))
# A tenth of the demonstrations are for the stop rule. With --tune half of the tests choose factors.
STOP_RULE      := $(shell echo $$(($(word 1,$(SIZES)) < 5000 ? $(word 1,$(SIZES)) / 10 : 500)))
DEMONSTRATIONS := $(shell echo $$(($(word 1,$(SIZES)) - $(STOP_RULE))))
VALIDATION     := $(shell echo $$(($(if $(filter yes,$(TUNE)),$(word 2,$(SIZES)) / 2,0))))
HELD_OUT       := $(shell echo $$(($(word 2,$(SIZES)) - $(VALIDATION))))
KEEP_COLUMNS   := $(shell $(RECORDS) fields <$(TASK)/test.jsonl)
# No completion has more tokens than bytes, and the end token.
MAX_NEW_TOKENS := $(shell awk -v n=$(word 3,$(SIZES)) 'BEGIN { print (n > 0 && n < 256 ? n + 1 : 256) }')

# A model that is trained from nothing needs other rates than one that can already write.
SFT = --lr-scheduler-type linear $(if $(BASE),--batch-size 16 --num-train-epochs 3 --learning-rate 2e-5 \
	--warmup-ratio 0.05,--batch-size 32 --max-steps 800 --learning-rate 3e-3 --warmup-steps 20)
CONTINUED = --batch-size 64 --max-steps 40 --lr-scheduler-type constant --learning-rate $(if $(BASE),5e-6,3e-4)
DPR = --steps 40 --batch-size 16 -n 4 --temperature 1 --baseline loo --learning-rate $(if $(BASE),5e-6,1e-4)

FLOOR       := 0.03
SELECT_FROM := $(DEMONSTRATIONS)
SELECT_TOP  := 1/3
COLD        := 0.5
BEST_OF     := 8
PRECHECK    := 40

# What a token answers for, and what has no floor, is asked on other tasks.
WITHOUT := dpr-position dpr-gamma-% dpr-sequence dpr-uniform dpr-last dpr-paper-% mig
# What scores samples of demonstrations: these may lack what the score reads in tests.
WITHOUT += $(if $(KEEP_COLUMNS),prefix-rft verifier verifier-mix)
