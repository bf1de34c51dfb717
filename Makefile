# make            builds everything and lays it out under build/ as `make install` does under PREFIX
# make setup      checks what the build and the tests need; installs it as root on Debian and Ubuntu
# make demo       a program is launched, checkpointed, killed, restarted
# make test       unit tests and end-to-end tests            make check   format, lint, laws, documents
# make test-programs, bench, soak, fuzz, faults              see CONTRIBUTING.md
PREFIX ?= /usr/local
DESTDIR ?=
SWIFT ?= swift
SCRATCH ?= .build
# Of the libraries only libc's own are loaded, and looked for nowhere else: a command that lives for milliseconds spends most
# of them in the loader.
STATIC := $(abspath $(SCRATCH))/static
SWIFTFLAGS ?= --static-swift-stdlib --disable-local-rpath $(addprefix -Xswiftc ,-L $(STATIC) -Xclang-linker -static-libgcc)
BUILD ?= build
JOBS ?= 2
COUNT ?= 1000
CYCLES ?= 10
DEPTH ?= 20
SECONDS ?= 300
export SWIFT SCRATCH BUILD JOBS

.PHONY: all build install setup demo test unit end-to-end check test-programs bench soak fuzz faults clean

all: build

build:
	@mkdir -p "$(STATIC)"
	@ln -sf "$$(cc -print-file-name=libstdc++.a)" "$(STATIC)/libstdc++.a"
	$(SWIFT) build -c release $(SWIFTFLAGS) --scratch-path "$(SCRATCH)" -j $(JOBS)
	Scripts/lay-out "$(SCRATCH)/release" "$(BUILD)"

install: all
	Scripts/lay-out --copy "$(BUILD)" "$(DESTDIR)$(PREFIX)"

setup:
	Scripts/setup

demo: setup build
	Scripts/demo

test: setup build unit end-to-end

unit:
	Scripts/unit-tests

end-to-end:
	Tests/EndToEnd/run

check: build
	Scripts/check

test-programs: build
	Tests/Programs/run --cycles $(CYCLES) --depth $(DEPTH)

bench: build
	Tests/Bench/run

soak: build
	Tests/Programs/soak --count $(COUNT)

fuzz: build
	Tests/Campaigns/fuzz --seconds $(SECONDS)

faults: build
	Tests/Campaigns/faults --seconds $(SECONDS)

clean:
	rm -rf "$(BUILD)" "$(SCRATCH)"
