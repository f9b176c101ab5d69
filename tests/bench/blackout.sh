#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Inside the machine of blackout.py, in both kernels: stops virtual machines, one
# on each node, keeps them over a kexec, and lets them run.
#
# usage: blackout.sh METHOD NUMBER SIZE

set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
top=$here/../..
# shellcheck source=tests/bench/lib.sh
. "$here/lib.sh"
method=$1 number=$2 size=$3
kernel=/run/vm/host$(cat "$(cat /run/vm/ctldir)/kernel")
initrd=/tmp/guest.cpio
names=()
for ((i = 0; i < number; i++)); do
	names+=("vm$i.ram")
done
PATH=$top/build/gmfs-numa:$PATH

vmm() {
	/usr/bin/python3 -B "$top/tests/numa/vmm.py" "$@"
}

# mark NAME: what has just ended
mark() {
	echo "$1 $(now)" >> "$VM_SCRATCH/marks"
}

# memfds make|retrieve: a process that has them
memfds() {
	/usr/bin/python3 -B "$here/memfds.py" "$1" /run/memfds \
		"$(numfmt --from=iec "$size")" "${names[@]}" > /tmp/memfds &
	echo $! > /tmp/memfds.pid
	until grep -q ready /tmp/memfds; do
		kill -0 "$(cat /tmp/memfds.pid)"
		sleep 0.01
	done
}

[ "$VM_BOOT" = 1 ] || mark kernel

case $method in
guestmemfs)
	gmfs-numa mount > /dev/null
	;;
memfd-luo)
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
[ "$VM_BOOT" = 1 ] || mark retrieve

mkdir -p /tmp/root/proc
cp "$top/build/bench/bin/guest" /tmp/root/init
(cd /tmp/root && find . | busybox cpio -o -H newc > "$initrd" 2> /dev/null)

if [ "$VM_BOOT" = 1 ]; then
	for ((i = 0; i < number; i++)); do
		vmm start "$i" "$size" "$kernel" "$initrd"
		vmm ticks "$i" 2 > /dev/null
		vmm stop "$i"
	done
	vm-kexec --load-only
	mark stopped
	for ((i = 0; i < number; i++)); do
		vmm save "$i"
	done
	mark save
	if [ "$method" = memfd-luo ]; then
		cp /run/memfds/*.state "$VM_SCRATCH"
		kill -USR1 "$(cat /tmp/memfds.pid)"
		until [ -e /run/memfds/preserved ]; do
			kill -0 "$(cat /tmp/memfds.pid)"
			sleep 0.01
		done
	fi
	mark preserve
	kexec -e
fi

for ((i = 0; i < number; i++)); do
	vmm resume "$i" "$size" "$kernel" "$initrd"
	# In its turn: of emulated processors only one can run a guest at a time.
	vmm stop "$i"
done
mark resume
for ((i = 0; i < number; i++)); do
	vmm cont "$i"
	vmm ticks "$i" 2 > /tmp/ticks
	[ "$(grep -c 'memory and connection are good' /tmp/ticks)" = 2 ] || die "$(cat /tmp/ticks)"
	vmm stop "$i"
done

before=
while read -r name time; do
	[ -z "$before" ] || row "$method" "$name" "$number" time $((time - before))
	before=$time
done < "$VM_SCRATCH/marks"
