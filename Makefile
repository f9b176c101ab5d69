# SPDX-License-Identifier: GPL-2.0
#
# Builds and tests guestmemfs by calling scripts, which can also be called directly.
# The file system is built by the kernel's makefiles, in a kernel tree that
# scripts/kernel-tree prepares.
#
# 'make help' prints the lines that begin with "##".

.DEFAULT_GOAL := help
# The targets use the same machine, the same tree and all CPUs.
.NOTPARALLEL:

# DEBUG=1, KDIR= and LINUX= are for the scripts, from the command line or the environment.
ifneq ($(filter-out 0,$(DEBUG)),)
export DEBUG := 1
else
# DEBUG=0 is no debug kernel either.
override DEBUG :=
unexport DEBUG
endif
ifneq ($(KDIR),)
export KDIR
endif
ifneq ($(LINUX),)
export LINUX
endif
export TESTS SHARD

.PHONY: help
help:
	@sed -n 's/^## \{0,1\}//p' $(MAKEFILE_LIST)

## Targets (each first installs missing packages, see scripts/packages.list):
##

## make kernel      build Linux 7.3 with guestmemfs (build/kernel)
.PHONY: kernel
kernel:
	@scripts/deps kernel
	@scripts/kernel

## make kernel-deb  Debian packages of a kernel for a host (build/kernel-deb)
.PHONY: kernel-deb
kernel-deb:
	@scripts/deps kernel kernel-deb
	@scripts/kernel-deb $(if $(CONFIG),'$(CONFIG)')

## make run         the demonstration: two virtual machines survive a kexec
.PHONY: run
run: kernel
	@scripts/deps vm tool
	@scripts/demo

## make upgrade     the same, from Linux 7.2 to 7.3 and back
.PHONY: upgrade
upgrade: kernel
	@LINUX=7.2 scripts/kernel
	@scripts/deps vm tool
	@scripts/demo "$$(LINUX=7.2 scripts/kernel --image)" "$$(scripts/kernel --image)"

## make shell       a shell on a machine with two nodes and a pool on each
.PHONY: shell
shell: kernel
	@scripts/deps vm
	@scripts/vm --nodes 2 --mem $(if $(DEBUG),5G,2G) --append 'guestmemfs=0:1G,1:1G' --interactive

## make test        all tests; the last line is "N passed, N failed"
.PHONY: test
test: kernel
	@scripts/deps vm tool test
	@scripts/test

## make check       some tests of each kind, in a few minutes
.PHONY: check
check: kernel
	@scripts/deps vm tool test
	@TESTS="-m quick $(TESTS)" scripts/test

## make check-tool  the tests of gmfs-numa that need no kernel tree, in some minutes
.PHONY: check-tool
check-tool:
	@scripts/deps tool offline
	@/usr/bin/python3 -B -m pytest -p no:cacheprovider --color=auto -q --dist=loadscope \
		--numprocesses="$$(nproc)" tests/numa/test_tool_*.py tests/numa/test_bootloader*.py $(TESTS)

## make races       tests with much concurrency, on a kernel with KCSAN
.PHONY: races
races:
	@scripts/deps kernel vm tool test
	@VARIANT=kcsan scripts/kernel
	@VARIANT=kcsan TESTS="-m race $(TESTS)" scripts/test

## make uninit      tests for uses of uninitialized memory, on a kernel with KMSAN
.PHONY: uninit
uninit:
	@scripts/deps kernel kmsan vm tool test
	@VARIANT=kmsan scripts/kernel
	@VARIANT=kmsan /usr/bin/python3 -B -m pytest -p no:cacheprovider -v tests/numa/test_uninit.py

## make lass        test a pool on a processor with LASS, in Bochs (QEMU has no LASS)
.PHONY: lass
lass: kernel
	@scripts/deps lass
	@scripts/lass

## make test-debian13 'make check-tool' in a new root of Debian 13; needs root
.PHONY: test-debian13
test-debian13:
	@scripts/deps debian13
	@scripts/test-debian13

## make test-libvirt gmfs-libvirt with libvirt and QEMU of trixie-backports; needs root
.PHONY: test-libvirt
test-libvirt: kernel
	@scripts/deps vm debian13
	@scripts/test-libvirt

## make soak        long tests, for some hours
.PHONY: soak
soak: kernel
	@scripts/deps vm tool test
	@scripts/soak

## make coverage    all tests; lists lines of fs/guestmemfs that no test executes
.PHONY: coverage
coverage:
	@scripts/deps kernel vm tool test coverage
	@scripts/coverage

## make fuzz        fuzz handed-over data, the boot parameter and command lines
.PHONY: fuzz
fuzz:
	@scripts/deps kernel fuzz
	@tests/fuzz/run --coverage $(if $(RUNS),--runs $(RUNS))

## make kunit       only the KUnit tests
.PHONY: kunit
kunit: kernel
	@scripts/deps vm
	@scripts/kunit

## make kunit-uml   the KUnit tests that need no machine, in User Mode Linux
.PHONY: kunit-uml
kunit-uml:
	@scripts/deps kernel
	@scripts/kunit-uml

## make bench       compare with hugetlbfs, memfd, tmpfs: build/bench/report.html
.PHONY: bench
bench: kernel
	@scripts/deps vm tool bench
	@scripts/bench

## make bench-quick a smaller benchmark, in some minutes: build/bench/report.html
.PHONY: bench-quick
bench-quick: kernel
	@scripts/deps vm tool bench
	@scripts/bench --quick

## make tool        gmfs-numa, the administrator's tool (build/gmfs-numa)
.PHONY: tool
tool:
	@scripts/deps tool
	@$(MAKE) -s -C tools/gmfs-numa

## make install     install gmfs-numa below DESTDIR= and prefix= (/usr)
.PHONY: install
install: tool
	@$(MAKE) -s -C tools/gmfs-numa install

## make deb         Debian packages of gmfs-numa and gmfs-libvirt (build/deb)
.PHONY: deb
deb:
	@scripts/deps tool
	@scripts/deb

## make lint        checkpatch, sparse, kernel-doc, shellcheck and others
.PHONY: lint
lint:
	@scripts/deps kernel lint
	@scripts/lint

## make clean       remove built kernels, keep unpacked sources
.PHONY: clean
clean:
	rm -rf build/kernel build/kernel-* build/lint build/vm build/test \
		build/coverage build/gmfs-numa build/gmfs-numa-sanitize build/lint-root build/lint-tool build/lint-bench build/deb build/fuzz build/bench build/*.log build/*.lock

## make distclean   remove build/ with the unpacked sources
.PHONY: distclean
distclean:
	rm -rf build
	@echo "Downloads stay in $${XDG_CACHE_HOME:-$$HOME/.cache}/guestmemfs"

##
## Variables:
##
## DEBUG=1          the debug kernel: KASAN, UBSAN, lockdep, kmemleak and others
## LINUX=7.2        that version of Linux, in build/kernel-7.2 (default: 7.3)
## CONFIG=FILE      configuration that 'make kernel-deb' starts from, such as /boot/config-...
## KDIR=DIR         a Linux tree of your own, 7.2 or 7.3; patches/ are applied to it, and
##                  the files of the project linked into it
## RUNS=N           number of inputs of 'make fuzz' (default: 10000000)
## SHARD=K/N        run only the K-th of N parts of 'make test', such as SHARD=1/4
## TESTS=ARGS       arguments for pytest in 'make test', such as TESTS='-k kexec'
##
## Examples:
##
## make run
## make test DEBUG=1
## scripts/vm --nodes 2 --mem 2G --append 'guestmemfs=0:1G,1:1G' -- \
##     sh -c 'mount -t guestmemfs -o node=1 none /mnt && df /mnt'
## scripts/vm --help
