# The programs that the end-to-end tests profile. Included by the Makefile, which defines BUILD; `make targets` builds all.
# Their flags are part of each case: nothing of CFLAGS, CXXFLAGS or LDFLAGS gets in.

TARGETS_DIR := $(BUILD)/targets
TARGETS_CC ?= gcc
TARGETS_CXX ?= g++
TARGETS_GO ?= $(firstword $(shell command -v go) $(wildcard /usr/local/go/bin/go) go)
# rbp is kept by clang and at -O0 only: blocked_rbp has call sites whose frames need it.
TARGETS_CLANG ?= $(firstword $(shell command -v clang) gcc)
TARGETS_WARN := -Wall -Wextra -Wno-unused-parameter

TARGETS_PLAIN := jit jit_frames short_writes split_30_70 threads64 churn recurse altstack blocked forker execer exec_loop leader_exit \
	periodic_10ms sigcount undumpable holder maxrss demo sleepers thread_storm fork_storm reloader turns waits first_last between kin waiter
TARGETS_CHAIN := c_o0 c_omit_fp pie no_pie static stripped stripped.full
TARGETS_GOS := go_busy go_stripped go_pie go_pie_stripped go_gc go_gc_stripped go_cgo go_cgo_pie go_cgo_sleep go_profiles
TARGETS_ALL := $(addprefix $(TARGETS_DIR)/,$(TARGETS_PLAIN) $(TARGETS_CHAIN) cpp_inline plug_a.so plug_b.so blocked_rbp eintr_canary $(TARGETS_GOS) i386_pause)

.PHONY: targets
targets: $(TARGETS_ALL)

$(TARGETS_ALL): tests/targets/targets.mk | $(TARGETS_DIR)

$(TARGETS_DIR):
	mkdir -p $@

$(addprefix $(TARGETS_DIR)/,$(TARGETS_PLAIN)): $(TARGETS_DIR)/%: tests/targets/%.c tests/targets/target.h
	$(TARGETS_CC) -std=gnu17 -O2 -g $(TARGETS_WARN) -o $@ $< -pthread

$(TARGETS_DIR)/c_o0: TARGET_FLAGS := -O0 -g
$(TARGETS_DIR)/c_omit_fp: TARGET_FLAGS := -O2 -g -fomit-frame-pointer
$(TARGETS_DIR)/pie: TARGET_FLAGS := -O2 -g -fPIE -pie
$(TARGETS_DIR)/no_pie: TARGET_FLAGS := -O2 -g -fno-pie -no-pie
$(TARGETS_DIR)/static: TARGET_FLAGS := -O2 -g -static
$(TARGETS_DIR)/stripped.full: TARGET_FLAGS := -O2 -g
$(addprefix $(TARGETS_DIR)/,$(filter-out stripped,$(TARGETS_CHAIN))): tests/targets/chain.c tests/targets/target.h
	$(TARGETS_CC) -std=gnu17 $(TARGETS_WARN) $(TARGET_FLAGS) -Wl,--build-id -o $@ $<

# The same program twice: what the customer runs, and what lies at home with its symbols (same build-id).
$(TARGETS_DIR)/stripped: $(TARGETS_DIR)/stripped.full
	strip --strip-all -o $@ $<

$(TARGETS_DIR)/cpp_inline: tests/targets/cpp_inline.cc tests/targets/target.h
	$(TARGETS_CXX) -std=c++17 -O2 -g $(TARGETS_WARN) -o $@ $<

$(TARGETS_DIR)/plug_a.so: PLUG_FLAGS := -DNAME=work_a -DFRAME=64
$(TARGETS_DIR)/plug_b.so: PLUG_FLAGS := -DNAME=work_b -DFRAME=400
$(TARGETS_DIR)/plug_a.so $(TARGETS_DIR)/plug_b.so: tests/targets/plug.c tests/targets/target.h
	$(TARGETS_CC) -std=gnu17 -O2 -g -shared -fPIC $(TARGETS_WARN) $(PLUG_FLAGS) -o $@ $<

$(TARGETS_DIR)/blocked_rbp: tests/targets/blocked.c tests/targets/target.h
	$(TARGETS_CLANG) -std=gnu17 -O0 -g -fno-omit-frame-pointer $(TARGETS_WARN) -o $@ $< -pthread

$(TARGETS_DIR)/eintr_canary: tests/targets/eintr_canary.c tests/targets/eintr_calls.c tests/targets/eintr_canary.h tests/targets/target.h
	$(TARGETS_CC) -std=gnu17 -O2 -g $(TARGETS_WARN) -o $@ $(filter %.c,$^) -pthread -lutil

# Only the assembler and the linker are needed, no 32-bit library.
$(TARGETS_DIR)/i386_pause: tests/targets/i386_pause.S
	$(TARGETS_CC) -m32 -static -no-pie -nostdlib -o $@ $<

# Each in every form that changes what is left to unwind by.
$(TARGETS_DIR)/go_stripped $(TARGETS_DIR)/go_gc_stripped: TARGET_FLAGS := -ldflags='-s -w'
$(TARGETS_DIR)/go_pie $(TARGETS_DIR)/go_cgo_pie: TARGET_FLAGS := -buildmode=pie
$(TARGETS_DIR)/go_pie_stripped: TARGET_FLAGS := -buildmode=pie -ldflags='-s -w'
$(TARGETS_DIR)/go_busy $(TARGETS_DIR)/go_stripped $(TARGETS_DIR)/go_pie $(TARGETS_DIR)/go_pie_stripped: tests/targets/go_busy.go
$(TARGETS_DIR)/go_gc $(TARGETS_DIR)/go_gc_stripped: tests/targets/go_gc.go
$(TARGETS_DIR)/go_cgo $(TARGETS_DIR)/go_cgo_pie: tests/targets/go_cgo.go
$(TARGETS_DIR)/go_cgo_sleep: tests/targets/go_cgo_sleep.go
$(TARGETS_DIR)/go_profiles: tests/targets/go_profiles.go
$(addprefix $(TARGETS_DIR)/,$(TARGETS_GOS)):
	$(TARGETS_GO) build $(TARGET_FLAGS) -o $@ $(filter %.go,$^)

# What `make bench` measures with.
$(TARGETS_DIR)/spin $(TARGETS_DIR)/wakers: $(TARGETS_DIR)/%: tests/bench/%.c tests/targets/targets.mk | $(TARGETS_DIR)
	$(TARGETS_CC) -std=gnu17 -O2 -g $(TARGETS_WARN) -o $@ $< -pthread
targets: $(TARGETS_DIR)/spin $(TARGETS_DIR)/wakers
