# cprof-attach. `make help` lists what can be made; nothing is written outside $(BUILD) but by `make install` and `make fmt`.

VERSION := 0.1.0
BUILD ?= build
PREFIX ?= /usr/local
DESTDIR ?=
CC := $(if $(filter default undefined,$(origin CC)),gcc,$(CC))
# Debian's own, to which its package of pytest belongs.
PYTHON ?= /usr/bin/python3

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wwrite-strings -Wundef -Wvla -Wformat=2 \
	$(if $(WERROR),-Werror)
OPTIMIZE ?= -O2 -g
HARDEN ?= -fstack-protector-strong -fstack-clash-protection -fcf-protection -D_FORTIFY_SOURCE=2
HARDEN_LINK ?= -Wl,-z,relro,-z,now
SANITIZE ?=
PACKAGES := libunwind-ptrace libunwind-generic libdw libelf libprotobuf-c zlib liblzma libzstd ncursesw
ALL_CFLAGS = -std=c17 -D_GNU_SOURCE -DCPROF_VERSION='"$(VERSION)"' $(OPTIMIZE) $(HARDEN) $(SANITIZE) $(WARNINGS) -I. -I$(BUILD)/gen \
	$(shell pkg-config --cflags $(PACKAGES)) $(CFLAGS)
# libiberty has no .pc file.
ALL_LIBS = $(HARDEN_LINK) $(shell pkg-config --libs $(PACKAGES)) -liberty -lm -pthread $(LDFLAGS)
# Debian's libdw.a needs bz2, too.
STATIC_LIBS = $(shell pkg-config --libs --static $(PACKAGES)) -lbz2 -liberty -lm -pthread $(LDFLAGS)

ROOMS := attach unwind symbols encoder
SOURCES := $(wildcard $(ROOMS:%=%/*.c))
GENERATED := $(BUILD)/gen/attach/syscalls.inc $(BUILD)/gen/encoder/profile.pb-c.h
STATIC := $(BUILD)/static/cprof-attach-$(VERSION)-x86_64
PROTOCOL := $(BUILD)/gen/encoder/profile.pb-c.o
OBJECTS := $(SOURCES:%.c=$(BUILD)/%.o) $(PROTOCOL)
LIBRARY := $(filter-out $(BUILD)/attach/main.o,$(OBJECTS))
UNIT_TESTS := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(wildcard tests/unit/test_*.c))
FUZZERS := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
STYLED := $(wildcard $(foreach d,$(ROOMS) tests/unit tests/targets tests/fuzz tests/bench tests/truth,$d/*.c $d/*.h $d/*.cc))

# As many jobs as there are CPUs, unless the command line says how many (`make -j3 check`).
PARALLEL = $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc))
SUBMAKE = @$(MAKE) --no-print-directory $(PARALLEL)

.DELETE_ON_ERROR:

.PHONY: all
all: $(BUILD)/cprof-attach

-include tests/targets/targets.mk
COMMA := ,
include tests/truth/truth.mk

# ---- the program ----

$(BUILD)/cprof-attach: $(OBJECTS)
	$(CC) $(SANITIZE) -o $@ $^ $(ALL_LIBS)

$(STATIC): $(OBJECTS) | have-static
	@mkdir -p $(@D)
	$(CC) -static -o $@ $^ $(STATIC_LIBS)

$(OBJECTS): | have-libraries
$(SOURCES:%.c=$(BUILD)/%.o): $(GENERATED)

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/encoder/page_text.o: $(wildcard encoder/page/*)

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
.PHONY: have-libraries have-static
have-libraries:
	@CC='$(CC)' tests/setup --missing build
have-static:
	@tests/setup --missing static

.PHONY: static
static: $(STATIC)

.PHONY: install
install: $(BUILD)/cprof-attach
	install -D -m 755 $(BUILD)/cprof-attach $(DESTDIR)$(PREFIX)/bin/cprof-attach
	install -d $(DESTDIR)$(PREFIX)/share/doc/cprof-attach
	install -m 644 README.md LICENSE $(wildcard docs/*.md) $(DESTDIR)$(PREFIX)/share/doc/cprof-attach
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man1 packaging/man/cprof-attach.1
	install -D -m 644 packaging/completion/cprof-attach.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/cprof-attach
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/zsh/vendor-completions packaging/completion/_cprof-attach
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d packaging/completion/cprof-attach.fish

# A package for this Debian, from a copy of the tree: dpkg-buildpackage wants debian/ at its top, and writes beside it.
.PHONY: deb
deb:
	@tests/setup deb
	@rm -rf $(BUILD)/deb
	@mkdir -p $(BUILD)/deb/cprof-attach
	@cp -a Makefile README.md LICENSE docs packaging $(ROOMS) tests $(BUILD)/deb/cprof-attach/
	@cp -a packaging/debian $(BUILD)/deb/cprof-attach/debian
	cd $(BUILD)/deb/cprof-attach && env -u MAKEFLAGS -u MAKELEVEL -u BUILD dpkg-buildpackage -b -us -uc >../build.log 2>&1 || { tail -n 20 ../build.log >&2; exit 1; }
	lintian --fail-on error,warning --tag-display-limit 0 $(BUILD)/deb/cprof-attach_$(VERSION)_*.changes
	@ls $(BUILD)/deb/cprof-attach_*.deb

# ---- seeing and testing it ----

.PHONY: demo
demo:
	@tests/setup demo
	$(SUBMAKE) all $(BUILD)/targets/demo
	@tests/demo $(BUILD)

.PHONY: check
check:
	@tests/setup check
	$(SUBMAKE) all static unit-tests fuzz-corpus-runners targets
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

.PHONY: asan
asan:
	@tests/setup check
	$(SUBMAKE) BUILD=$(BUILD)/asan OPTIMIZE='-O1 -g -fno-omit-frame-pointer' HARDEN= HARDEN_LINK= \
		SANITIZE='-fsanitize=address,undefined -fno-sanitize-recover=all' all unit-tests fuzz-corpus-runners targets
	@UBSAN_OPTIONS=print_stacktrace=1 $(PYTHON) tests/run-all $(BUILD)/asan unit fuzz e2e

.PHONY: bench
bench:
	@tests/setup bench
	$(SUBMAKE) all targets
	@$(PYTHON) tests/bench/bench.py $(BUILD)

# ---- fuzzing: each parser of hostile bytes ----

FUZZ_SECONDS ?= 30
# The limit of memory is for what is in use: freed memory that AddressSanitizer keeps is not.
FUZZ_FLAGS := -fsanitize=address,undefined -fno-sanitize-recover=all
.PHONY: fuzz fuzzers
fuzz:
	@tests/setup lint
	$(SUBMAKE) BUILD=$(BUILD)/fuzzing CC=clang HARDEN= HARDEN_LINK= SANITIZE='-fsanitize=fuzzer-no-link $(FUZZ_FLAGS)' fuzzers
	@set -e; for f in $(notdir $(FUZZERS)); do \
		mkdir -p $(BUILD)/fuzzing/corpus/$$f; \
		ASAN_OPTIONS=quarantine_size_mb=64 $(BUILD)/fuzzing/fuzz/$$f -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=512 -timeout=10 \
			-artifact_prefix=$(BUILD)/fuzzing/$$f- $(BUILD)/fuzzing/corpus/$$f tests/fuzz/corpus/$$f; \
	done

fuzzers: $(FUZZERS)
$(BUILD)/fuzz/%: $(BUILD)/tests/fuzz/%.o $(BUILD)/tests/fuzz/elf.o $(LIBRARY)
	@mkdir -p $(@D)
	$(CC) -fsanitize=fuzzer $(FUZZ_FLAGS) -o $@ $^ $(ALL_LIBS)

# The same targets without libFuzzer: each file of the corpus once, in `make check`.
.PHONY: fuzz-corpus fuzz-corpus-runners
fuzz-corpus: fuzz-corpus-runners
	@$(PYTHON) tests/run-all $(BUILD) fuzz
fuzz-corpus-runners: $(FUZZERS:$(BUILD)/fuzz/%=$(BUILD)/fuzz-once/%)
$(BUILD)/fuzz-once/%: $(BUILD)/tests/fuzz/%.o $(BUILD)/tests/fuzz/once.o $(BUILD)/tests/fuzz/elf.o $(LIBRARY)
	@mkdir -p $(@D)
	$(CC) $(SANITIZE) -o $@ $^ $(ALL_LIBS)
$(BUILD)/tests/fuzz/%.o: $(GENERATED)

# ---- style ----

.PHONY: fmt lint lint-files
fmt:
	clang-format -i $(STYLED)

lint:
	@tests/setup lint
	$(SUBMAKE) --keep-going lint-files

# clang-tidy takes longest: one process for each file, so that they run side by side.
lint-files: lint-format lint-layers lint-cppcheck $(SOURCES:%=tidy/%)
.PHONY: lint-format lint-layers lint-cppcheck $(SOURCES:%=tidy/%)
lint-format:
	clang-format --dry-run -Werror $(STYLED)
lint-layers:
	tests/lint-layers
lint-cppcheck: $(GENERATED)
	cppcheck --quiet --error-exitcode=1 --std=c11 --inline-suppr --enable=warning,performance,portability \
		--suppress=missingIncludeSystem --suppress=preprocessorErrorDirective --suppress=ctuuninitvar -D_GNU_SOURCE -I. $(SOURCES)
$(SOURCES:%=tidy/%): tidy/%: $(GENERATED)
	@echo clang-tidy $*
	@clang-tidy --quiet $* -- -std=c17 -D_GNU_SOURCE -DCPROF_VERSION='"$(VERSION)"' -I. -I$(BUILD)/gen $(shell pkg-config --cflags $(PACKAGES))

.PHONY: clean help
clean:
	rm -rf $(BUILD)

help:
	@sed -n '/^| `make/ { s/^| //; s/ |$$//; s/ | /: /; s/`//g; p }' README.md

.SECONDARY:
-include $(OBJECTS:.o=.d) $(wildcard $(BUILD)/tests/unit/*.d $(BUILD)/tests/fuzz/*.d $(BUILD)/tests/truth/*.d)
