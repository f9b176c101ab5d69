# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0
#
# For the scripts of the tests, which run inside the test machine: see
# conftest.py. Those of the benchmark have it too.

die() {
	echo "FAILED: $*" >&2
	exit 1
}

# at_node N: where the file system of the node is mounted
at_node() {
	echo "/mnt/node$1"
}

# mount_node N [OPTIONS]
mount_node() {
	mkdir -p "/mnt/node$1"
	mount -t guestmemfs -o "node=$1${2:+,$2}" none "/mnt/node$1" ||
		die "node $1 cannot be mounted"
}

# equal A B WHAT
equal() {
	[ "$1" = "$2" ] || die "$3: '$1', should be '$2'"
}

# between LEAST A MOST WHAT
between() {
	{ [ "$1" -le "$2" ] && [ "$2" -le "$3" ]; } ||
		die "$4: $2, should be $1 to $3"
}

# has TEXT PATTERN WHAT: does a line of the text match the regular expression?
has() {
	printf '%s\n' "$1" | grep -qE -- "$2" ||
		die "$3: no line like '$2' in: $1"
}

# fails COMMAND...: it has to, and not by a signal
fails() {
	set +e
	"$@"
	fails_status=$?
	set -e
	{ [ "$fails_status" -ne 0 ] && [ "$fails_status" -lt 126 ]; } ||
		die "status $fails_status of: $*"
}

# on_one_cpu COMMAND...: for a virtual machine with several processors. If these run on several
# emulated CPUs, then QEMU 10 and 11 rarely save the host's state as that of the guest, at an exit:
# the guest ends by a shutdown, or loops (1 of 5 runs of private_mem_conversions_test -n 4).
# For a command in the background that gets a signal, write taskset: "$!" is the command then.
on_one_cpu() {
	taskset -c 1 "$@"
}

# take_device ID: gives a PCI device with this ID, as in its file "device", to user space, the next
# one that was not given before.
# $device is its address, $group and $cdev are its files.
# shellcheck disable=SC2034
take_device() {
	for device in /sys/bus/pci/devices/* none; do
		[ "$device" != none ] || die "there is no PCI device $1"
		[ "$(cat "$device/device")" != "$1" ] || [ "$(cat "$device/driver_override")" = vfio-pci ] || break
	done
	echo vfio-pci > "$device/driver_override"
	if [ -e "$device/driver" ]; then
		basename "$device" > "$device/driver/unbind"
	fi
	basename "$device" > /sys/bus/pci/drivers_probe
	group=/dev/vfio/$(basename "$(readlink "$device/iommu_group")")
	cdev=/dev/vfio/devices/$(ls "$device/vfio-dev")
	device=$(basename "$device")
}

free_blocks() {
	stat -f -c %f "$1"
}

total_blocks() {
	stat -f -c %b "$1"
}

# mount_stat N NAME: what /proc/self/mountstats says of the node's mount
mount_stat() {
	sed -n "s:^device none mounted on /mnt/node$1 .* $2=\([0-9]*\).*:\1:p" /proc/self/mountstats
}

# pause_scrub N Y|N: whether the node's thread leaves dirty blocks as they are
pause_scrub() {
	echo "$2" > "/sys/kernel/debug/guestmem_pool/node$1/pause_scrub"
}

# wait_clean N: until no free block of the node is dirty, for two minutes at most
wait_clean() {
	for _ in $(seq 1200); do
		[ "$(mount_stat "$1" dirty_blocks)" != 0 ] || return 0
		sleep 0.1
	done
	die "node $1 has $(mount_stat "$1" dirty_blocks) dirty blocks after two minutes"
}

# pool_ranges N: "START END" in hexadecimal for each extent
pool_ranges() {
	sed -n "s/^ *\([0-9a-f]*\)-\([0-9a-f]*\) : guestmemfs node$1\$/\1 \2/p" /proc/iomem
}

# pool_bytes N
pool_bytes() {
	pool_ranges "$1" | {
		sum=0
		while read -r start end; do
			sum=$((sum + 0x$end - 0x$start + 1))
		done
		echo "$sum"
	}
}

# The part of the log that guestmemfs wrote.
gm_log() {
	dmesg | grep -E 'guestmem(_pool|fs): ' | sed 's/^\[ *[0-9.]*\] //'
}

# damage N WHERE OFFSET MASK [fix]: at the next kexec
damage() {
	damage_node=$1
	shift
	echo "$*" > "/sys/kernel/debug/guestmem_pool/node$damage_node/damage"
}

# wait_for FILE TEXT: until it is in the file, for half a minute at most
wait_for() {
	for _ in $(seq 300); do
		grep -q -- "$2" "$1" 2> /dev/null && return
		sleep 0.1
	done
	die "'$2' does not come in $1: $(cat "$1")"
}

# The pools of all nodes lie in what firmware says is the node's memory.
check_places() {
	for node in "$@"; do
		dmesg | sed -n "s/.*ACPI: SRAT: Node $node PXM [0-9]* \[mem 0x\([0-9a-f]*\)-0x\([0-9a-f]*\)\].*/\1 \2/p" > /tmp/srat
		pool_ranges "$node" > /tmp/ranges
		[ -s /tmp/ranges ] || die "node $node has no pool in /proc/iomem"
		while read -r start end; do
			found=
			while read -r s e; do
				if [ $((0x$start >= 0x$s && 0x$end <= 0x$e)) = 1 ]; then
					found=1
				fi
			done < /tmp/srat
			[ -n "$found" ] || die "$start-$end is not on node $node"
			# Whole sections of sparsemem.
			equal $((0x$start % (128 << 20))) 0 "start of $start-$end"
			equal $(((0x$end + 1) % (128 << 20))) 0 "end of $start-$end"
		done < /tmp/ranges
	done
}

# KHO is on, so that there is a next kernel for the pools.
check_kho() {
	[ -d /sys/kernel/debug/kho/out ] || die "KHO is off"
	dmesg | grep -qiE 'disabling kexec handover|KHO: .*fail' && die "KHO: $(dmesg | grep -i kho)"
	return 0
}

# kexec_without_handover: into the next kernel by the old system call, which
# knows nothing of handover. To the pools that is as if the power had failed.
kexec_without_handover() {
	ctl=$(cat /run/vm/ctldir)
	user=$(sed 's/.* vm\.append//' /proc/cmdline)
	kexec -c -l "/run/vm/host$(cat "$ctl/next-kernel")" \
		--initrd="/run/vm/host$(cat "$ctl/initramfs")" \
		--command-line="$(cat "$ctl/cmdline") vm.boot=$((VM_BOOT + 1)) vm.append$user" ||
		die "the next kernel cannot be loaded"
	kexec -e
	die "the next kernel cannot be executed"
}
