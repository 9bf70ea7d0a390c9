# SPDX-License-Identifier: MIT
# No arm: what DPR spends in the task, for the methods that are to spend as much; and where an arm
# has no place. DPR: options of dpr

empty :=
space := $(empty) $(empty)
# $(1): an option, $(2): options: the word after it.
after = $(firstword $(subst |, ,$(word 2,$(subst |$(1)|, ,x|$(subst $(space),|,$(strip $(2)))|))))

UPDATES ?= $(call after,--steps,$(DPR))
# Prompts an update, and samples of each.
PROMPTS ?= $(call after,--batch-size,$(DPR))
SAMPLES ?= $(call after,-n,$(DPR))
RATE    ?= --learning-rate $(call after,--learning-rate,$(DPR))
# Prompts an update where a prompt has eight samples.
OF_8    ?= $$(($(PROMPTS) * $(SAMPLES) / 8 > 0 ? $(PROMPTS) * $(SAMPLES) / 8 : 1))

# NOT_ON_TASK: arms that say nothing there. That task does not know them; where --arms names them for
# several tasks, it goes without.
where = $(filter-out $(NOT_ON_$(notdir $(abspath $(TASK)))),$(1))
ifeq ($(origin TASKS)$(TASKS),command line)
ifdef ARMS
ASKED := $(ARMS)
override ARMS = $(call where,$(ASKED))
endif
endif
