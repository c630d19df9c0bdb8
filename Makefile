# cprof-attach. `make help` lists what can be made; nothing is written outside $(BUILD) but by `make install` and `make fmt`.

VERSION := 0.1.0
BUILD ?= build
PREFIX ?= /usr/local
DESTDIR ?=
CC := $(if $(filter default undefined,$(origin CC)),gcc,$(CC))
PYTHON ?= /usr/bin/python3

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wwrite-strings -Wundef -Wvla -Wformat=2 \
	$(if $(WERROR),-Werror)
OPTIMIZE ?= -O2 -g
HARDEN ?= -fstack-protector-strong -D_FORTIFY_SOURCE=2
SANITIZE ?=
PACKAGES := libunwind-ptrace libunwind-generic libdw libelf libprotobuf-c zlib
ALL_CFLAGS = -std=c17 -D_GNU_SOURCE -DCPROF_VERSION='"$(VERSION)"' $(OPTIMIZE) $(HARDEN) $(SANITIZE) $(WARNINGS) -I. -I$(BUILD)/gen \
	$(shell pkg-config --cflags $(PACKAGES)) $(CFLAGS)
# libiberty has no .pc file.
ALL_LIBS = $(shell pkg-config --libs $(PACKAGES)) -liberty -lm -pthread $(LDFLAGS)
STATIC_LIBS = $(shell pkg-config --libs --static $(PACKAGES)) -lbz2 -liberty -lm -pthread $(LDFLAGS)

ROOMS := attach unwind symbols encoder
SOURCES := $(wildcard $(ROOMS:%=%/*.c))
GENERATED := $(BUILD)/gen/attach/syscalls.inc $(BUILD)/gen/encoder/profile.pb-c.h
PROTOCOL := $(BUILD)/gen/encoder/profile.pb-c.o
OBJECTS := $(SOURCES:%.c=$(BUILD)/%.o) $(PROTOCOL)
LIBRARY := $(filter-out $(BUILD)/attach/main.o,$(OBJECTS))
UNIT_TESTS := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(wildcard tests/unit/test_*.c))
FUZZERS := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
STYLED := $(wildcard $(foreach d,$(ROOMS) tests/unit tests/targets tests/fuzz tests/bench,$d/*.c $d/*.h $d/*.cc))

.PHONY: all
all: $(BUILD)/cprof-attach

-include tests/targets/targets.mk

# ---- the program ----

$(BUILD)/cprof-attach: $(OBJECTS)
	$(CC) $(SANITIZE) -o $@ $^ $(ALL_LIBS)

$(BUILD)/static/cprof-attach: $(OBJECTS)
	@mkdir -p $(@D)
	$(CC) -static -o $@ $^ $(STATIC_LIBS)

$(OBJECTS): | have-libraries
$(SOURCES:%.c=$(BUILD)/%.o): $(GENERATED)

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# The generated code is not ours to style.
$(PROTOCOL): $(BUILD)/gen/encoder/profile.pb-c.h
	$(CC) $(ALL_CFLAGS) -w -c -o $@ $(<:.h=.c)

$(BUILD)/gen/encoder/profile.pb-c.h: encoder/profile.proto | have-libraries
	@mkdir -p $(@D)
	protoc-c --c_out=$(BUILD)/gen $<

$(BUILD)/gen/attach/syscalls.inc: | have-libraries
	@mkdir -p $(@D)
	echo '#include <asm/unistd_64.h>' | $(CC) -E -dM - | sed -n 's/^#define __NR_\([a-z0-9_]*\) \([0-9]*\)$$/[\2] = "\1",/p' >$@

# One line that says what is missing and how to get it, instead of a compiler's error.
.PHONY: have-libraries
have-libraries:
	@tests/setup --missing build

.PHONY: static
static: $(BUILD)/static/cprof-attach

.PHONY: install
install: $(BUILD)/cprof-attach
	install -D -m 755 $(BUILD)/cprof-attach $(DESTDIR)$(PREFIX)/bin/cprof-attach
	install -D -m 644 README.md $(DESTDIR)$(PREFIX)/share/doc/cprof-attach/README.md

# ---- seeing and testing it ----

.PHONY: demo
demo:
	@tests/setup demo
	@$(MAKE) --no-print-directory all $(BUILD)/targets/demo
	@tests/demo $(BUILD)

.PHONY: check
check:
	@tests/setup check
	@$(MAKE) --no-print-directory all static unit-tests fuzz-corpus-runners targets
	@$(PYTHON) tests/run-all $(BUILD)

# What one can run alone while working; they need `make check`'s packages.
.PHONY: unit unit-tests e2e
unit: unit-tests
	@$(PYTHON) tests/run-all $(BUILD) unit
unit-tests: $(UNIT_TESTS)
e2e: all static targets
	@$(PYTHON) tests/run-all $(BUILD) e2e

$(BUILD)/unit/%: $(BUILD)/tests/unit/%.o $(LIBRARY)
	@mkdir -p $(@D)
	$(CC) $(SANITIZE) -o $@ $^ -lcmocka $(ALL_LIBS)
$(BUILD)/tests/unit/%.o: $(GENERATED)

# LeakSanitizer cannot work where ptrace is in use.
.PHONY: asan
asan:
	@tests/setup check
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/asan OPTIMIZE='-O1 -g -fno-omit-frame-pointer' HARDEN= \
		SANITIZE='-fsanitize=address,undefined -fno-sanitize-recover=all' all unit-tests targets
	@ASAN_OPTIONS=detect_leaks=0 $(PYTHON) tests/run-all $(BUILD)/asan unit e2e

.PHONY: bench
bench:
	@tests/setup check
	@$(MAKE) --no-print-directory all targets
	@$(PYTHON) tests/bench/bench.py $(BUILD)

# ---- fuzzing: each parser of hostile bytes ----

FUZZ_SECONDS ?= 30
.PHONY: fuzz fuzz-corpus-runners
fuzz:
	@tests/setup lint
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/fuzzing CC=clang HARDEN= SANITIZE=-fsanitize=fuzzer-no-link,address,undefined fuzzers
	@for f in $(notdir $(FUZZERS)); do mkdir -p $(BUILD)/fuzzing/corpus/$$f && \
		$(BUILD)/fuzzing/fuzz/$$f -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=512 -timeout=10 $(BUILD)/fuzzing/corpus/$$f tests/fuzz/corpus/$$f || exit 1; done

.PHONY: fuzzers
fuzzers: $(FUZZERS)
$(BUILD)/fuzz/%: $(BUILD)/tests/fuzz/%.o $(LIBRARY)
	@mkdir -p $(@D)
	$(CC) -fsanitize=fuzzer,address,undefined -o $@ $^ $(ALL_LIBS)

# The same targets without libFuzzer: each file of the corpus once, in `make check`.
fuzz-corpus-runners: $(patsubst $(BUILD)/fuzz/%,$(BUILD)/fuzz-once/%,$(FUZZERS))
$(BUILD)/fuzz-once/%: $(BUILD)/tests/fuzz/%.o $(BUILD)/tests/fuzz/once.o $(LIBRARY)
	@mkdir -p $(@D)
	$(CC) $(SANITIZE) -o $@ $^ $(ALL_LIBS)
$(BUILD)/tests/fuzz/%.o: $(GENERATED)

# ---- style ----

.PHONY: fmt lint
fmt:
	clang-format -i $(STYLED)

lint: $(GENERATED)
	@tests/setup lint
	clang-format --dry-run -Werror $(STYLED)
	tests/lint-layers
	cppcheck --quiet --error-exitcode=1 --std=c11 --inline-suppr --enable=warning,performance,portability \
		--suppress=missingIncludeSystem --suppress=checkersReport -D_GNU_SOURCE -I. -I$(BUILD)/gen $(SOURCES)
	clang-tidy --quiet $(SOURCES) -- -std=c17 -D_GNU_SOURCE -I. -I$(BUILD)/gen $(shell pkg-config --cflags $(PACKAGES))

.PHONY: clean help
clean:
	rm -rf $(BUILD)

help:
	@sed -n 's/^| `make\(.*\)` | \(.*\) |$$/make\1: \2/p' README.md

.SECONDARY:
-include $(OBJECTS:.o=.d) $(UNIT_TESTS:$(BUILD)/unit/%=$(BUILD)/tests/unit/%.d)
