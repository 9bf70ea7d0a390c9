# SPDX-License-Identifier: MIT
# The annotators with another mixture: a cell of the map "on which demonstrations does it help".
# One OUT a cell:
#   pipelines/compare --tasks pipelines/tasks/mixture -o out/map/20-1-1200 SHARE=20 EPOCHS=1 UPDATES=1200
#
#   SHARE     percent of the demonstrations that are good (worked out); of the others, 45 refuse for
#             each 20 that guess
#   UPDATES   length of SFT: the longer, the earlier in it the good part is learned
#   EPOCHS    how often each demonstration is seen: there are UPDATES x 32 / EPOCHS of them

SHARE   := 35
UPDATES := 1200
EPOCHS  := 1

include $(PIPELINES)/tasks/annotators/recipe.mk

export MIXTURE_REFUSE := $(shell echo $$(((100 - $(SHARE)) * 45 / 65)))
export MIXTURE_GUESS  := $(shell echo $$((100 - $(SHARE) - $(MIXTURE_REFUSE))))

DEMONSTRATIONS := $(shell echo $$(($(UPDATES) * 32 / $(EPOCHS))))
SFT += --max-steps $(UPDATES)

# Where there are as many, 60 updates of 128 see each chosen one once.
SELECT_FROM := $(shell echo $$(($(DEMONSTRATIONS) < 23040 ? $(DEMONSTRATIONS) : 23040)))
SELECT_TOP  := $(shell awk 'BEGIN { print ($(SHARE) >= 35 ? "1/3" : $(SHARE) / 100) }')
