# SPDX-License-Identifier: MIT
# Sorting letters, 30 % of the demonstrations corrupted: as sort, in all but what is selected.

include $(PIPELINES)/tasks/sort/recipe.mk

# What is clean is 70 % of them.
SELECT_TOP := 0.65
