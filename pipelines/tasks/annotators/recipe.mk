# SPDX-License-Identifier: MIT
# The three annotators: sizes and settings of the comparison (see ../../comparison/compare.mk).

DEMONSTRATIONS := 38400
HELD_OUT       := 500
# Held-out demonstrations for the stop rule, none of them among those of the score.
STOP_RULE      := 500
MAX_NEW_TOKENS := 48

ADAM := --adam-beta1 0.9 --adam-beta2 0.95 --weight-decay 0 --max-grad-norm 1

# 1200 updates: every demonstration once.
SFT := --batch-size 32 --learning-rate 3e-3 --lr-scheduler-type linear --warmup-steps 20 $(ADAM)

# As many updates, on as many sequences, as DPR.
CONTINUED := --batch-size 128 --max-steps 60 --learning-rate 3e-4 --lr-scheduler-type constant $(ADAM)

DPR           := --steps 60 --batch-size 32 -n 4 --temperature 1 --baseline loo --learning-rate 1e-4
DPR_OPTIMIZER := $(ADAM)

FLOOR := 0.03

# A third of these is what 60 updates of 128 see once.
SELECT_FROM := 23040
SELECT_TOP  := 1/3

COLD        := 0.5
BEST_OF     := 16

# Prompts of the check before any update, 32 samples each.
PRECHECK    := 100

# Without a floor, other references are tried on the known expert.
WITHOUT := dpr-paper-%
