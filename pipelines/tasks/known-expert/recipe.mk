# SPDX-License-Identifier: MIT
# The known expert: sizes and settings of the comparison (see ../../comparison/compare.mk).

DEMONSTRATIONS := 2000
HELD_OUT       := 500
# Held-out demonstrations for the stop rule.
STOP_RULE      := 500
MAX_NEW_TOKENS := 24

ADAM := --adam-beta1 0.9 --adam-beta2 0.95 --weight-decay 0 --max-grad-norm 1

# Every demonstration 6.4 times.
SFT := --batch-size 64 --max-steps 200 --learning-rate 3e-3 --lr-scheduler-type linear \
	--warmup-steps 20 $(ADAM)

# As many updates, on as many sequences, as DPR.
CONTINUED := --batch-size 128 --max-steps 40 --learning-rate 3e-4 --lr-scheduler-type constant $(ADAM)

DPR           := --steps 40 --batch-size 32 -n 4 --temperature 1 --baseline loo --learning-rate 1e-4
DPR_OPTIMIZER := $(ADAM)

FLOOR := 0.03

SELECT_FROM := 2000
SELECT_TOP  := 1/3

COLD        := 0.7
BEST_OF     := 16

# Prompts of the check before any update, 32 samples each.
PRECHECK    := 100

# The true return, whether it is 16 symbols, and the expert's log-likelihood where it is.
MEASURES := score legal expert
