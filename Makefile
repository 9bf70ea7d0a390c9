# Densepath. `make` builds, `make demo` shows, `make test` tests; `make help` lists the rest.
# Local settings go into config.mak (CC, CFLAGS, PREFIX, ...).
VERSION := 0.1.0
-include config.mak

CC      ?= gcc
CFLAGS  ?= -O2 -g
PREFIX  ?= /usr/local
DESTDIR ?=
BUILD   ?= build
comma   := ,
# SANITIZE=address,undefined builds into a folder of its own.
ifneq ($(SANITIZE),)
BUILD   := build/$(subst $(comma),-,$(SANITIZE))
EXTRA   += -fsanitize=$(SANITIZE) -fno-omit-frame-pointer -fno-sanitize-recover=undefined
endif

CPPFLAGS += -Ilib -D_GNU_SOURCE -DDENSEPATH_VERSION='"$(VERSION)"'
STD       = -std=c11 -Wall -Wextra -Wno-unused-parameter -ffp-contract=off
LIBS      = -lopenblas -lzstd -ljansson -lpcre2-8 -lutf8proc -lxxhash -lm -lpthread

SOURCES  := $(wildcard lib/*/*.c lib/*/*/*.c)
OBJECTS  := $(SOURCES:%.c=$(BUILD)/%.o)
PROGRAMS := $(patsubst bin/%.c,%,$(wildcard bin/*.c))
# Programs stand beside their source; a sanitized build keeps its own.
BINDIR   := $(if $(SANITIZE),$(BUILD)/bin,bin)
UNITS    := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/test_*.c))

.PHONY: all units clean help
all: $(PROGRAMS:%=$(BINDIR)/%)
units: $(UNITS)

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(STD) $(CPPFLAGS) $(CFLAGS) $(EXTRA) $(OBJECT_FLAGS) -MMD -MP -c -o $@ $<

# Inner loops: fused multiply-add where the instruction set has it, each set in a file of its own.
$(BUILD)/lib/ops/cpu/kernel_%.o: OBJECT_FLAGS = -O3 -ffp-contract=fast
ifeq ($(shell uname -m),x86_64)
$(BUILD)/lib/ops/cpu/kernel_avx2.o: OBJECT_FLAGS += -mavx2 -mfma
$(BUILD)/lib/ops/cpu/kernel_avx512.o: OBJECT_FLAGS += -mavx512f -mavx512vl -mavx512bw -mavx512dq -mfma \
	-mprefer-vector-width=512
endif
# Loops over whole models: vectorised also by compilers that do not at -O2 (no change of results).
$(BUILD)/lib/learn/optimizer.o: OBJECT_FLAGS += -O3 -fno-math-errno

# Tests compile the widest inner loops for any processor; no such vector leaves its file.
$(BUILD)/tests/unit/%.o: OBJECT_FLAGS = -Wno-psabi

$(BUILD)/libcore.a: $(OBJECTS)
	@rm -f $@
	$(AR) rcs $@ $^

$(PROGRAMS:%=$(BINDIR)/%): $(BINDIR)/%: $(BUILD)/bin/%.o $(BUILD)/libcore.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(EXTRA) $(LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/tests/%: $(BUILD)/tests/unit/%.o $(BUILD)/libcore.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(EXTRA) $(LDFLAGS) -o $@ $^ $(LIBS)

clean:
	rm -rf build $(PROGRAMS:%=bin/%)

-include $(OBJECTS:.o=.d) $(wildcard $(BUILD)/bin/*.d $(BUILD)/tests/unit/*.d)
