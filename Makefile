# Densepath. `make` builds, `make demo` shows, `make test` tests; `make help` lists the rest.
# Local settings go into config.mak (CC, CFLAGS, PREFIX, ...).

# Names are given as they are: a dollar in one would be make's, which can run commands.
$(foreach v,DESTDIR PREFIX OUT TASKS ARMS SEEDS JOBS DEPS_FOR KILLS SEED FAULTS FAULT_RUNS GROWTH,$(if $(findstring $$,$(value $v)),$(error $v: a dollar in \
	it would be taken for a variable of make: write the name without, or set it in config.mak)))
VERSION := 0.2.0
-include config.mak
# DEPS=no: targets install no packages.
export DEPS
DEPS_FOR ?= build run test

CC      ?= gcc
CFLAGS  ?= -O2 -g
PREFIX  ?= /usr/local
DESTDIR ?=
BUILD   ?= build
SEEDS   ?= 3
comma   := ,
# SANITIZE=address,undefined builds into a folder of its own.
ifneq ($(SANITIZE),)
BUILD   := build/$(subst $(comma),-,$(SANITIZE))
EXTRA   += -fsanitize=$(SANITIZE) -fno-omit-frame-pointer -fno-sanitize-recover=undefined
endif
# As many jobs as there are processors; -j on the command line wins. Scripts that call make start anew.
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell nproc)
endif
# One short line per step; V=1 shows the commands, make -s nothing.
SILENT = $(findstring s,$(firstword -$(MAKEFLAGS)))
say = $(if $(V),,@$(if $(SILENT),,printf '  %s %s\n' $(1) '$@'; ))
ALONE = env -u MAKEFLAGS -u MFLAGS -u MAKEOVERRIDES -u MAKELEVEL

OURS      = -Ilib -D_GNU_SOURCE -DDENSEPATH_VERSION='"$(VERSION)"'
STD       = -std=c11 -Wall -Wextra -Wno-unused-parameter -Werror=implicit-function-declaration -ffp-contract=off
LIBS      = -lzstd -lz -ljansson -lpcre2-8 -lutf8proc -lxxhash -lm -lpthread
HEADERS   = zstd.h zlib.h jansson.h pcre2.h utf8proc.h xxhash.h

SOURCES  := $(wildcard lib/*/*.c lib/*/*/*.c)
OBJECTS  := $(SOURCES:%.c=$(BUILD)/%.o)
PROGRAMS := $(patsubst bin/%.c,%,$(wildcard bin/*.c))
# Programs stand beside their source; a sanitized build keeps its own.
BINDIR   := $(if $(SANITIZE),$(BUILD)/bin,bin)
FUZZERS  := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
UNITS    := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/test_*.c)) \
	$(FUZZERS:%=$(BUILD)/tests/test_fuzz_%)
BENCHES  := $(patsubst tests/bench/%.c,$(BUILD)/bench/%,$(wildcard tests/bench/*.c))
FIDELITY := $(patsubst tests/fidelity/%.c,$(BUILD)/fidelity/%,$(wildcard tests/fidelity/*.c))
PAGES    := $(wildcard man/*.[157])

.PHONY: all programs units benches objects deps demo compare fidelity test test-slow kills lint bench bench-growth fuzz faults install install-strip uninstall clean help
.SECONDARY: # objects of tests stay

all: programs
	@echo 'Densepath $(VERSION) with $(shell $(CC) -dumpmachine 2>/dev/null), $(CC)' \
		'$(shell $(CC) -dumpversion 2>/dev/null): $(BINDIR)/{$(subst $(eval) ,$(comma),$(PROGRAMS))}'
	@echo 'It computes on the CPU, in fp32 or with products of bf16. CUDA and MPI are not used in this version.'
programs: $(PROGRAMS:%=$(BINDIR)/%)
units: $(UNITS) $(FIDELITY)
benches: $(BENCHES)
objects: $(OBJECTS) $(patsubst %.c,$(BUILD)/%.o,$(wildcard bin/*.c bin/*/*.c $(addsuffix /*.c,$(addprefix tests/,unit bench fidelity fuzz))))

help:
	@echo 'make               build the programs: bin/NAME'
	@echo 'make deps          install the packages of make demo and make test; DEPS_FOR="lint slow" for other groups'
	@echo 'make demo          the main job from nothing, in five minutes; SEEDS=5 for more runs [$(SEEDS)]'
	@echo 'make compare       every method on every task over 5 seeds, into out/compare; QUICK=1 for a look'
	@echo 'make test          all tests but the slow ones; make SANITIZE=address,undefined test'
	@echo 'make test-slow     all tests'
	@echo 'make kills         KILLS=200 blows at all trainers, loops and rounds, then the same bytes? SEED=1'
	@echo 'make fidelity      what is equal to the reference implementations: a table (needs ../shared)'
	@echo 'make lint          form and bugs of sources, scripts and manual pages'
	@echo 'make bench         speed, as ratios to what the machine can do and to other programs that are there:'
	@echo '                   PEERS_PYTHON=/path/to/python with torch; llama.cpp on PATH'
	@echo 'make bench-growth  how speed grows with context, batch, size and threads, into out/growth: an hour'
	@echo 'make fuzz          each fuzz target for SECONDS_EACH=60, or FUZZERS="config stream" (needs clang)'
	@echo 'make faults        each call of each program fails once, the power at any point: half an hour;'
	@echo '                   FAULTS="sft-train toks-cat", FAULT_RUNS=2000 (per case)'
	@echo 'make install       to DESTDIR and PREFIX [$(PREFIX)]; make install-strip, without symbols; make uninstall'
	@echo 'make clean         remove what was built'
	@echo 'V=1 shows the commands of the build.'
	@echo 'Before they build, demo, compare, fidelity, test, lint, bench and fuzz install the Debian packages that'
	@echo 'are missing (packages.txt), as root or through sudo, and say so; DEPS=no leaves that out.'

# Says what is missing before a compiler does.
$(BUILD)/libraries:
	@mkdir -p $(@D)
	@printf '#include <%s>\n' $(HEADERS) | $(CC) -DPCRE2_CODE_UNIT_WIDTH=8 -E -x c - >$@ 2>$@.log || { \
		grep -h 'fatal error' $@.log || cat $@.log; rm -f $@; \
		echo 'Something to build with is missing. Debian packages that are not installed:' \
			$$(.ci/packages --missing build); \
		echo '`make deps` installs them, as root or through sudo.'; exit 1; } >&2
	@rm -f $@.log

$(BUILD)/%.o: %.c | $(BUILD)/libraries
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(STD) $(OURS) $(CPPFLAGS) $(CFLAGS) $(EXTRA) $(OBJECT_FLAGS) -MMD -MP -c -o $@ $<

# Inner loops: fused multiply-add where the instruction set has it, each set in a file of its own.
$(BUILD)/lib/ops/cpu/kernel_%.o: OBJECT_FLAGS = -O3 -ffp-contract=fast
ifeq ($(shell uname -m),x86_64)
$(BUILD)/lib/ops/cpu/kernel_avx2.o: OBJECT_FLAGS += -mavx2 -mfma
$(BUILD)/lib/ops/cpu/kernel_avx512.o: OBJECT_FLAGS += -mavx512f -mavx512vl -mavx512bw -mavx512dq -mfma \
	-mprefer-vector-width=512
$(BUILD)/lib/ops/cpu/kernel_avx512bf16.o: OBJECT_FLAGS += -mavx512f -mavx512vl -mavx512bw -mavx512dq -mavx512bf16 \
	-mfma -mprefer-vector-width=512
endif
# Loops over whole models, and over the symbols of words: vectorised also by compilers that do not at -O2
# (no change of results).
$(BUILD)/lib/ops/cpu/update.o: OBJECT_FLAGS += -O3 -fno-math-errno
$(BUILD)/lib/tokenize/bpe.o: OBJECT_FLAGS += -O3

# Tests compile the widest inner loops for any processor; no such vector leaves its file.
$(BUILD)/tests/unit/%.o: OBJECT_FLAGS = -Wno-psabi

# The list of objects is a prerequisite, so that a file that has gone leaves the archive too.
$(BUILD)/libcore.a: $(OBJECTS) $(BUILD)/objects
	@rm -f $@
	@$(AR) rcs $@ $(OBJECTS)
$(BUILD)/objects: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' $(OBJECTS) | cmp -s - $@ || printf '%s\n' $(OBJECTS) >$@
.PHONY: FORCE
FORCE:

# A program with commands has them beside it: bin/toks-commands/NAME.c.
.SECONDEXPANSION:
$(PROGRAMS:%=$(BINDIR)/%): $(BINDIR)/%: $(BUILD)/bin/%.o \
		$$(addprefix $(BUILD)/,$$(addsuffix .o,$$(basename $$(wildcard bin/$$*-commands/*.c)))) $(BUILD)/libcore.a
	@mkdir -p $(@D)
	$(call say,LD)$(CC) $(CFLAGS) $(EXTRA) $(LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/tests/%: $(BUILD)/tests/unit/%.o $(BUILD)/libcore.a
	@mkdir -p $(@D)
	$(call say,LD)$(CC) $(CFLAGS) $(EXTRA) $(LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/fidelity/%: $(BUILD)/tests/fidelity/%.o $(BUILD)/libcore.a
	@mkdir -p $(@D)
	$(call say,LD)$(CC) $(CFLAGS) $(EXTRA) $(LDFLAGS) -o $@ $^ $(LIBS)

# Seeds and findings of a fuzz target, once each, by any compiler.
$(BUILD)/tests/test_fuzz_%: $(BUILD)/tests/fuzz/fuzz_%.o $(BUILD)/tests/fuzz/replay.o $(BUILD)/libcore.a
	@mkdir -p $(@D)
	$(call say,LD)$(CC) $(CFLAGS) $(EXTRA) $(LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/bench/%: $(BUILD)/tests/bench/%.o $(BUILD)/libcore.a
	@mkdir -p $(@D)
	$(call say,LD)$(CC) $(CFLAGS) $(EXTRA) $(LDFLAGS) -o $@ $^ $(LIBS) -lopenblas $(BENCH_LIBS)
# oneDNN's rate is shown beside others' where its headers are (Debian's libdnnl-dev).
$(BUILD)/bench/bench_onednn: BENCH_LIBS = $(if $(shell printf '\043include <dnnl.h>\n' | \
	$(CC) -E - >/dev/null 2>&1 && echo yes),-ldnnl -lgomp)

# Packages come before anything is compiled: each of these calls make again. Who asks for `deps` wants
# them, whatever DEPS says.
deps: export DEPS_FOR := $(DEPS_FOR)
deps:
	@set -f; DEPS=yes .ci/packages $$DEPS_FOR

demo:
	@.ci/packages build run
	@$(MAKE) --no-print-directory programs
	@$(ALONE) BIN="$$(cd '$(BINDIR)' && pwd)" pipelines/demo --seeds "$$SEEDS"

# TASKS, SEEDS (how many), ARMS, OUT and JOBS may be given; QUICK=1 is a small one. What is made stays.
given = $(filter-out undefined file,$(origin $(1)))
COMPARE = $(if $(QUICK),--quick,--tune --tasks 'annotators sort sort-noisy known-expert stories' \
	--seeds '1 2 3 4 5') $(if $(TASKS),--tasks "$$TASKS") $(if $(ARMS),--arms "$$ARMS") \
	$(if $(call given,SEEDS),--seeds "$$(seq -s ' ' 1 "$$SEEDS")")
# Names go by the environment: only the shell sees them, as values.
compare demo: export SEEDS := $(SEEDS)
compare: export OUT := $(or $(OUT),out/compare$(if $(QUICK),-quick))
compare: export JOBS := $(or $(JOBS),$(shell nproc))
compare: export TASKS := $(TASKS)
compare: export ARMS := $(ARMS)
compare:
	@.ci/packages build run
	@$(MAKE) --no-print-directory programs
	@$(ALONE) BIN="$$(cd '$(BINDIR)' && pwd)" pipelines/compare -o "$$OUT" --jobs "$$JOBS" $(COMPARE)

test test-slow:
	@.ci/packages build run test $(if $(filter test-slow,$@),slow)
	@$(MAKE) --no-print-directory programs units
	@$(ALONE) BUILD=$(BUILD) BIN=$(BINDIR) tests/run $(if $(filter test-slow,$@),--slow)

# What is struck, goes on, and is compared: see tests/kills --help.
KILLS ?= 200
SEED ?= 1
kills: export KILLS := $(KILLS)
kills: export SEED := $(SEED)
kills:
	@.ci/packages build run test
	@$(MAKE) --no-print-directory programs
	@$(ALONE) BIN="$$(cd '$(BINDIR)' && pwd)" tests/kills --kills "$$KILLS" --seed "$$SEED"

# GOLDEN and DATA may name other folders of reference values and real data.
fidelity:
	@.ci/packages build run
	@$(MAKE) --no-print-directory programs units
	@$(ALONE) BIN="$$(cd '$(BINDIR)' && pwd)" BUILD="$$(cd '$(BUILD)' && pwd)" tests/fidelity/run

lint:
	@.ci/packages build lint bench
	@.ci/packages --need clang clang-format clang-tidy shellcheck mandoc
	@$(MAKE) --no-print-directory -k BUILD=build/gcc CC=gcc EXTRA=-Werror objects
	@echo "ok      gcc -Wall -Wextra -Werror"
	@$(MAKE) --no-print-directory -k BUILD=build/clang CC=clang EXTRA=-Werror objects
	@echo "ok      clang -Wall -Wextra -Werror"
	@.ci/lint

# Each script of tests/bench in the order of names; programs that they need are built first.
bench:
	@.ci/packages build run bench
	@$(MAKE) --no-print-directory programs benches
	@status=0; for script in $(filter-out tests/bench/growth.sh,$(sort $(wildcard tests/bench/*.sh tests/bench_*.sh))); do \
		if [ -x $$script ]; then echo "== $$script"; BIN="$$(cd '$(BINDIR)' && pwd)" \
			BENCH="$$(cd '$(BUILD)' && pwd)/bench" $$script || status=$$?; fi; done; exit $$status
# Tables and pictures of rates over context, batch, size and threads: an hour. GROWTH names the files.
bench-growth: export GROWTH := $(or $(GROWTH),out/growth)
bench-growth:
	@.ci/packages build run
	@$(MAKE) --no-print-directory programs benches
	@mkdir -p "$$(dirname "$$GROWTH")"
	@BIN="$$(cd '$(BINDIR)' && pwd)" BENCH="$$(cd '$(BUILD)' && pwd)/bench" tests/bench/growth.sh -o "$$GROWTH"

# Fuzz targets read what strangers send. They are built by clang into a folder of their own.
# FUZZERS="config stream" takes some of them.
SECONDS_EACH ?= 60
# It goes through all of Unicode: comparisons that are traced would be the whole of a run.
ifneq ($(findstring fuzzer,$(SANITIZE)),)
$(BUILD)/lib/tokenize/pattern_dfa.o: OBJECT_FLAGS += -fno-sanitize-coverage=trace-cmp
endif
FUZZING = CC=clang SANITIZE=fuzzer-no-link,address,undefined CFLAGS='-O1 -g' CPPFLAGS=-DTEMPLATE_STEPS=1000000
FUZZDIR = build/fuzzer-no-link-address-undefined/fuzz
fuzz:
	@.ci/packages build lint bench
	@.ci/packages --need clang
	@$(MAKE) --no-print-directory $(FUZZING) $(FUZZERS:%=$(FUZZDIR)/%)
	@$(ALONE) tests/fuzz/run $(FUZZDIR) $(SECONDS_EACH) $(FUZZERS)
$(BUILD)/fuzz/%: $(BUILD)/tests/fuzz/fuzz_%.o $(BUILD)/libcore.a
	@mkdir -p $(@D)
	$(call say,LD)$(CC) $(CFLAGS) $(EXTRA) -fsanitize=fuzzer $(LDFLAGS) -o $@ $^ $(LIBS)

# Each system call and each piece of memory of a small run fails once: a run for each; and power cuts.
# FAULTS="sft-train toks-cat" takes some cases of tests/faults/cases.bash.
FAULT_RUNS ?= 2000
faults: export FAULTS := $(FAULTS)
faults: export FAULT_RUNS := $(FAULT_RUNS)
faults:
	@.ci/packages build run
	@$(MAKE) --no-print-directory programs
	@export BIN="$$(cd '$(BINDIR)' && pwd)"; status=0; set -f; \
		$(ALONE) tests/faults/run --most "$$FAULT_RUNS" $$FAULTS || status=1; \
		$(ALONE) tests/faults/run --cut --most "$$FAULT_RUNS" $$FAULTS || status=1; exit $$status

# What goes where; install and uninstall read the same list: MODE, SOURCE, folder under PREFIX, NAME.
# DESTDIR and PREFIX may hold spaces: only the shell sees them.
SHARE := share/densepath
define installed
$(foreach p,$(PROGRAMS),755 $(BINDIR)/$p bin $p)
$(foreach p,$(PAGES),644 $p share/man/man$(patsubst .%,%,$(suffix $p)) $(notdir $p))
$(foreach p,$(shell find pipelines -type f -perm -u+x 2>/dev/null),755 $p $(SHARE)/$(patsubst %/,%,$(dir $p)) $(notdir $p))
$(foreach p,$(shell find pipelines -type f ! -perm -u+x 2>/dev/null),644 $p $(SHARE)/$(patsubst %/,%,$(dir $p)) $(notdir $p))
$(foreach p,$(wildcard formats/*.md) README.md HACKING.md RECORDS.md NEWS LICENSE packages.txt,644 $p \
	$(patsubst %/,%,$(dir share/doc/densepath/$p)) $(notdir $p))
644 completions/densepath.bash share/bash-completion/completions densepath
644 completions/_densepath share/zsh/site-functions _densepath
644 completions/densepath.fish share/fish/vendor_completions.d densepath.fish
endef
# Bash and fish look a completion up by the program's name.
COMPLETED := $(filter-out densepath,$(PROGRAMS))
# Links of a document in share/doc/densepath to what the tree has beside it, and PREFIX elsewhere.
INSTALLED_LINKS := -e 's,\]\(man/([^)]*\.([0-9]))\),](../../man/man\2/\1),g' -e 's,\]\(pipelines/,](../../densepath/pipelines/,g'
install-strip: WITHOUT_SYMBOLS := -s
install-strip: install
install uninstall: export ROOT = $(DESTDIR)$(PREFIX)
install: programs
	@set -e; set -- $(strip $(installed)); while [ $$# -gt 0 ]; do \
		symbols=; [ "$$3" != bin ] || symbols='$(WITHOUT_SYMBOLS)'; \
		install -D $$symbols -m $$1 $$2 "$$ROOT/$$3/$$4"; shift 4; done
	@set -e; for name in $(COMPLETED); do \
		ln -sf densepath "$$ROOT/share/bash-completion/completions/$$name"; \
		ln -sf densepath.fish "$$ROOT/share/fish/vendor_completions.d/$$name.fish"; done
	@set -e; for page in README.md HACKING.md; do sed -E $(INSTALLED_LINKS) $$page >"$$ROOT/share/doc/densepath/$$page"; done
	@echo "installed in $$ROOT" | tr '\001-\011\013-\037\177' '?'
uninstall:
	@set -e; set -- $(strip $(installed)); while [ $$# -gt 0 ]; do \
		printf '%s\0' "$$ROOT/$$3/$$4"; shift 4; done | xargs -0 rm -f
	@for name in $(COMPLETED); do rm -f "$$ROOT/share/bash-completion/completions/$$name" \
		"$$ROOT/share/fish/vendor_completions.d/$$name.fish"; done
	@for d in $(SHARE) share/doc/densepath; do \
		[ ! -d "$$ROOT/$$d" ] || find "$$ROOT/$$d" -depth -type d -empty -delete; done

clean:
	rm -rf build $(PROGRAMS:%=bin/%)

-include $(OBJECTS:.o=.d) $(wildcard $(BUILD)/bin/*.d $(BUILD)/bin/*/*.d $(BUILD)/tests/unit/*.d $(BUILD)/tests/bench/*.d \
	$(BUILD)/tests/fuzz/*.d $(BUILD)/tests/fidelity/*.d)
