# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# For the scripts of the benchmark, which run inside the test machine: see machine.py. They have
# the functions of tests/numa/lib.sh as well; those of this file come first.

die() {
	echo "FAILED: $*" >&2
	exit 1
}

# mount_node N [OPTIONS]: guestmemfs, at /mnt/nodeN
mount_node() {
	mkdir -p "/mnt/node$1"
	mount -t guestmemfs -o "node=$1${2:+,$2}" none "/mnt/node$1"
	export PAUSE_SCRUB=/sys/kernel/debug/guestmem_pool/node$1/pause_scrub
}

# mount_tmpfs NAME [OPTIONS]: at /mnt/NAME
mount_tmpfs() {
	mkdir -p "/mnt/$1"
	mount -t tmpfs -o "size=90%${2:+,$2}" none "/mnt/$1"
}

# huge_pages KIB NUMBER: so many, all of them or the machine ends
huge_pages() {
	local file=/sys/kernel/mm/hugepages/hugepages-$1kB/nr_hugepages
	echo "$2" > "$file"
	[ "$(cat "$file")" = "$2" ] || die "of $2 huge pages of $1 KiB there are $(cat "$file")"
}

# row PEER WHAT X UNIT VALUE: print a figure
row() {
	printf '{"peer": "%s", "what": "%s", "x": %s, "unit": "%s", "values": [%s]}\n' "$@"
}

# wait_clean N: until the node's pool has nothing to zero
wait_clean() {
	until [ "$(cat "/sys/fs/guestmemfs/node$1/dirty_blocks")" = 0 ]; do
		sleep 0.1
	done
}
