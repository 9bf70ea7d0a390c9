# SPDX-License-Identifier: MIT
# Supervised fine-tuning, and what an honest comparison sets against everything else: the same for as
# many more updates, and the same model sampled at a lower temperature.
# SFT, CONTINUED: options of sft-train; COLD: a temperature

KNOWN += sft continued cold

title.sft := SFT
tuned.sft := sft
needs.sft := base
define model.sft
sft -m $$S/base -o $$A --keep 0.25,half,0.75 --metrics $$A.metrics.jsonl "$${common[@]}" $$S/demos.toks \
    -- "$${resume[@]}" $$(scaled $(SFT))
endef

title.continued := SFT continued
tuned.continued := continued
needs.continued := sft
define model.continued
sft-train -m $$S/sft -o $$A --metrics $$A.metrics.jsonl "$${common[@]}" "$${resume[@]}" $$(scaled $(CONTINUED)) \
    $$S/demos.toks
endef

title.cold := SFT at low temperature
tuned.cold := cold
needs.cold := sft
define answers.cold
answer $$S/sft $$(times_x $(COLD)) $(ANSWER)
endef
