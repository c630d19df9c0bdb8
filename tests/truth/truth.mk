# The single-stepping driver and the programs that it runs, built in every way that changes their unwind information. Included by
# the Makefile; `make truth` builds all. What a machine lacks (Rust, musl) is left out, and tests/e2e/test_truth.py says so.

TRUTH_DIR := $(BUILD)/truth
TRUTH_RUSTC ?= $(firstword $(shell command -v rustc) $(wildcard $(HOME)/.cargo/bin/rustc))
TRUTH_MUSL ?= $(shell command -v musl-gcc)
TRUTH_NO_TABLES := -fno-asynchronous-unwind-tables -fno-unwind-tables

# name, compiler, flags
define TRUTH_PROGRAM
TRUTH_ALL += $(TRUTH_DIR)/$(1)
$(TRUTH_DIR)/$(1): tests/truth/parts.c tests/truth/truth.mk | $(TRUTH_DIR)
	$(2) -w $(3) -o $$@ $$<
endef
define TRUTH_CPP
TRUTH_ALL += $(TRUTH_DIR)/$(1)
$(TRUTH_DIR)/$(1): tests/truth/throws.cc tests/truth/truth.mk | $(TRUTH_DIR)
	$(2) -w -std=c++17 $(3) -o $$@ $$<
endef

$(eval $(call TRUTH_PROGRAM,gcc_o0,gcc,-O0))
$(eval $(call TRUTH_PROGRAM,gcc_o2,gcc,-O2 -fno-omit-frame-pointer))
$(eval $(call TRUTH_PROGRAM,gcc_o2_omit,gcc,-O2 -fomit-frame-pointer))
$(eval $(call TRUTH_PROGRAM,gcc_o3_no_pie,gcc,-O3 -no-pie -fno-pie))
$(eval $(call TRUTH_PROGRAM,clang_o0,clang,-O0))
$(eval $(call TRUTH_PROGRAM,clang_o2,clang,-O2))
$(eval $(call TRUTH_PROGRAM,lazy,gcc,-O2 -Wl$(COMMA)-z$(COMMA)lazy))
$(eval $(call TRUTH_PROGRAM,static,gcc,-O2 -static))
$(eval $(call TRUTH_PROGRAM,static_pie,gcc,-O2 -static-pie))
$(eval $(call TRUTH_PROGRAM,static_no_hdr,gcc,-O2 -static -Wl$(COMMA)--no-eh-frame-hdr))
$(eval $(call TRUTH_PROGRAM,no_hdr,gcc,-O2 -Wl$(COMMA)--no-eh-frame-hdr))
$(eval $(call TRUTH_PROGRAM,lld,gcc,-O2 -fuse-ld=lld))
$(eval $(call TRUTH_PROGRAM,debug_frame,gcc,-O2 -g $(TRUTH_NO_TABLES)))
$(eval $(call TRUTH_PROGRAM,debug_frame_z,gcc,-O2 -g -gz=zlib $(TRUTH_NO_TABLES)))
$(eval $(call TRUTH_PROGRAM,debug_frame_o0,clang,-O0 -g -gdwarf-4 $(TRUTH_NO_TABLES)))
$(eval $(call TRUTH_CPP,cpp_gcc,g++,-O2))
$(eval $(call TRUTH_CPP,cpp_gcc_o0,g++,-O0))
$(eval $(call TRUTH_CPP,cpp_clang,clang++,-O2))
ifneq ($(TRUTH_MUSL),)
$(eval $(call TRUTH_PROGRAM,musl,$(TRUTH_MUSL),-O2 -static))
endif

ifneq ($(TRUTH_RUSTC),)
TRUTH_ALL += $(TRUTH_DIR)/rust
$(TRUTH_DIR)/rust: tests/truth/rusty.rs tests/truth/truth.mk | $(TRUTH_DIR)
	$(TRUTH_RUSTC) -O -o $@ $<
endif

.PHONY: truth
truth: $(TRUTH_DIR)/truth $(TRUTH_ALL)
targets: truth

$(TRUTH_DIR):
	mkdir -p $@

$(TRUTH_DIR)/truth: $(BUILD)/tests/truth/truth.o $(LIBRARY) | $(TRUTH_DIR)
	$(CC) $(SANITIZE) -o $@ $^ $(ALL_LIBS)
$(BUILD)/tests/truth/truth.o: $(GENERATED)

# What `make bench` times walks with.
targets: $(BUILD)/truth/walks
$(BUILD)/truth/walks: $(BUILD)/tests/bench/walks.o $(LIBRARY) | $(TRUTH_DIR)
	$(CC) $(SANITIZE) -o $@ $^ $(ALL_LIBS)
$(BUILD)/tests/bench/walks.o: $(GENERATED)
