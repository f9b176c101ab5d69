#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Inside the machine of scripts/bench-blackout, in both kernels: stops virtual
# machines, one on each node, keeps them over a kexec, and lets them run.
#
# usage: blackout.sh METHOD NUMBER SIZE KERNEL
#
# Prints "mark NAME" as it goes; whoever reads that knows when it was. Of emulated
# processors only one can run a guest at a time: the others are paused meanwhile.

set -euo pipefail

top=$(cd "$(dirname "$0")/../.." && pwd)
method=$1 number=$2 size=$3 kernel=$4
initrd=/tmp/guest.cpio
names=()
for ((i = 0; i < number; i++)); do
	names+=("vm$i.ram")
done
PATH=$top/build/gmfs-numa:$PATH

vmm() {
	/usr/bin/python3 -B "$top/tests/numa/vmm.py" "$@"
}

mark() {
	echo "mark $1"
}

# memfds make|retrieve: a process that has them
memfds() {
	/usr/bin/python3 -B "$top/tests/bench/memfds.py" "$1" /run/memfds \
		"$(numfmt --from=iec "$size")" "${names[@]}" > /tmp/memfds &
	echo $! > /tmp/memfds.pid
	until grep -q ready /tmp/memfds; do
		kill -0 "$(cat /tmp/memfds.pid)"
		sleep 0.01
	done
}

mkdir -p /tmp/root/proc
cp "$top/build/test/bin/guest" /tmp/root/init
(cd /tmp/root && find . | busybox cpio -o -H newc > "$initrd" 2> /dev/null)

[ "$VM_BOOT" = 1 ] || mark booted

case $method in
guestmemfs)
	gmfs-numa mount > /dev/null
	;;
memfd)
	if [ "$VM_BOOT" = 1 ]; then
		memfds make
	else
		memfds retrieve
		cp "$VM_SCRATCH"/*.state /run/memfds
	fi
	export VMM_FOLDER=/run/memfds
	;;
file)
	export VMM_FOLDER=$VM_SCRATCH VMM_MOVE=1
	;;
esac

if [ "$VM_BOOT" = 1 ]; then
	for ((i = 0; i < number; i++)); do
		vmm start "$i" "$size" "$kernel" "$initrd"
		vmm ticks "$i" 2
		vmm stop "$i"
	done
	vm-kexec --load-only
	mark stopped
	for ((i = 0; i < number; i++)); do
		vmm save "$i"
	done
	mark saved
	if [ "$method" = memfd ]; then
		cp /run/memfds/*.state "$VM_SCRATCH"
		kill -USR1 "$(cat /tmp/memfds.pid)"
		until [ -e /run/memfds/preserved ]; do
			kill -0 "$(cat /tmp/memfds.pid)"
			sleep 0.01
		done
	fi
	mark preserved
	kexec -e
fi

mark retrieved
for ((i = 0; i < number; i++)); do
	vmm resume "$i" "$size" "$kernel" "$initrd"
	vmm stop "$i"
done
mark resumed
for ((i = 0; i < number; i++)); do
	vmm cont "$i"
	vmm ticks "$i" 2
	vmm stop "$i"
done
