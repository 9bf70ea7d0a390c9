# SPDX-License-Identifier: MIT
# A real model on real demonstrations: sizes and settings of the comparison (see ../../comparison/compare.mk).
# stories260k, a Llama of 260 thousand parameters that has read children's stories, learns to follow
# instructions from 880 demonstrations in Alpaca's form (both of MIT and Apache licence). They are
# not part of this project: STORIES is the folder that holds them.

export STORIES ?= $(PIPELINES)/../../shared/data
BASE := $(STORIES)/hf-stories260k

DEMONSTRATIONS := 880
HELD_OUT       := 100
STOP_RULE      := 60
VALIDATION     := 60
MAX_NEW_TOKENS := 64

# Overlap with the answer, whether it ended by itself, its length in characters; and the loss a token
# on the held-out demonstrations.
MEASURES     := score ended length
KEEP_COLUMNS := answer

ADAM := --adam-beta1 0.9 --adam-beta2 0.95 --weight-decay 0 --max-grad-norm 1

# Every demonstration 4 times.
SFT := --batch-size 16 --num-train-epochs 4 --learning-rate 1e-3 --lr-scheduler-type linear \
	--warmup-steps 10 $(ADAM)

# As many updates, on as many sequences, as DPR.
CONTINUED := --batch-size 64 --max-steps 30 --learning-rate 1e-4 --lr-scheduler-type constant $(ADAM)

DPR           := --steps 30 --batch-size 16 -n 4 --temperature 1 --baseline loo --learning-rate 5e-5
DPR_OPTIMIZER := $(ADAM)
BEST_OF_SFT   := --rounds 3 --prompts 160 -n 4 --steps 10

FLOOR := 0.03

SELECT_FROM := 880
SELECT_TOP  := 1/3

COLD        := 0.5
BEST_OF     := 16

# Prompts of the check before any update, 32 samples each.
PRECHECK    := 40

# What a token answers for, and what has no floor, is asked on the other tasks.
WITHOUT := dpr-position dpr-gamma-% dpr-sequence dpr-uniform dpr-last dpr-paper-%
