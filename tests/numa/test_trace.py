# SPDX-License-Identifier: GPL-2.0
"""Trace events: each comes when what it is named for happens, and says how it was."""

import re

MACHINE = dict(nodes=2, mem="3G")
# Those of boot and kexec go to the console: nobody can read a buffer then.
AT_BOOT = "trace_event=" + ",".join(f"guestmemfs:guestmemfs_{name}" for name in
                                    ("freeze", "preserve", "retrieve")) + " tp_printk"

SCRIPT = r"""
check_kho
mount_node 1
if [ "$VM_BOOT" = 1 ]; then
    wait_clean 1
    cd /sys/kernel/tracing
    equal "$(ls -d events/guestmemfs/*/ | wc -l)" 13 'events'
    events() {
        for name in allocate free scrub fault poison; do
            echo $1 > events/guestmemfs/guestmemfs_$name/enable
        done
    }
    # What else is printed, at this moment, is nobody's.
    echo 0 > /proc/sys/kernel/tracepoint_printk
    echo > trace
    events 1
    echo "mark allocate" > trace_marker
    truncate -s 1G /mnt/node1/large
    truncate -s 6M /mnt/node1/small
    fails truncate -s 3G /mnt/node1/more 2> /dev/null
    rm /mnt/node1/more
    # A file with two holes, of which one can be filled.
    echo "mark unclaim" > trace_marker
    truncate -s 60M /mnt/node1/holes
    fallocate -p -o 0 -l 20M /mnt/node1/holes
    fallocate -p -o 40M -l 20M /mnt/node1/holes
    truncate -s 200M /mnt/node1/ballast
    fails fallocate -l 60M /mnt/node1/holes 2> /dev/null
    rm /mnt/node1/holes /mnt/node1/ballast
    wait_clean 1
    echo "mark fault" > trace_marker
    /usr/bin/python3 -B - << 'EOF'
import mmap
for name, size, offset in (("large", 1 << 30, 0), ("small", 4 << 20, 0), ("small", 8192, 4096)):
    with open(f"/mnt/node1/{name}", "r+b") as f, mmap.mmap(f.fileno(), size, offset=offset) as m:
        m[0] = m[4097] = 1
EOF
    ino=$(stat -c %i /mnt/node1/large)
    echo "inodes=$ino $(stat -c %i /mnt/node1/small)"
    echo "mark free" > trace_marker
    pause_scrub 1 Y
    rm /mnt/node1/small
    # By who wants it, then by the thread.
    echo "mark scrub" > trace_marker
    fallocate -l $(($(free_blocks /mnt/node1) * 2))M /mnt/node1/rest
    echo "mark background" > trace_marker
    rm /mnt/node1/rest
    pause_scrub 1 N
    truncate -s 2M /mnt/node1/one
    rm /mnt/node1/one
    wait_clean 1
    echo "mark poison" > trace_marker
    read -r start _ < <(pool_ranges 1)
    echo $((0x$start + 3 * 4096)) > /sys/devices/system/memory/hard_offline_page
    events 0
    echo "start=$((0x$start / 4096))"
    cp trace /tmp/trace
    sed 's/^/T: /' /tmp/trace
    echo 1 > /proc/sys/kernel/tracepoint_printk
    vm-kexec
fi
[ "$VM_BOOT" = 3 ] || vm-kexec
"""


def fields(line):
    return {k: int(v, 0) if re.fullmatch(r"-?(0x[0-9a-f]+|\d+)", v) else v
            for k, v in re.findall(r"(\w+)=(\S+)", line)}


def test_events(vm):
    """Each of them, with what it says."""
    run = vm(SCRIPT, append=f"guestmemfs=0:128M,1:1280M nokaslr {AT_BOOT}", boots=3,
             expect=[r"guestmem_pool: node 1: hardware error at 0x[0-9a-f]+000: ",
                     r"guestmem_pool: node 1: 1 pages have hardware errors"], **MACHINE)

    steps = {}
    for line in run.lines(r"^T: "):
        mark = re.search(r": mark (\w+)", line)
        event = re.search(r": guestmemfs_(\w+): (.*)", line)
        if mark:
            now = steps[mark[1]] = []
        elif event:
            # Of the other node nothing was wanted.
            got = fields(event[2])
            assert got["node"] == 1, line
            now.append((event[1], got))

    def of(step, name):
        return [got for event, got in steps[step] if event == name]

    # All that was wanted, and what came of it; a gigabyte in one piece.
    large, small, *more = of("allocate", "allocate")
    assert (large["want"], large["goal"], large["count"], large["err"]) == (512, -1, 512, 0), large
    assert (small["want"], small["count"], small["err"]) == (3, 3, 0), small
    runs = {(large["start"], 512), (small["start"], 3)}
    assert all(start + count <= 640 for start, count in runs), runs
    # What there is not is not had in part.
    assert [(m["want"], m["start"], m["count"], m["err"]) for m in more] == [(1536, 0, 0, -28)]
    assert not of("allocate", "free")
    # But what was claimed for the first hole is given back.
    *_, one, two = of("unclaim", "allocate")
    assert (one["want"], one["count"], one["err"]) == (10, 10, 0), one
    assert (two["want"], two["count"], two["err"]) == (10, 0, -28), two
    freed = of("unclaim", "free")
    assert [(f["start"], f["count"]) for f in freed if not f["used"]] == [(one["start"], 10)]
    assert sum(f["count"] for f in freed if f["used"]) == 20 + 10 + 100, freed

    # The leaf that was tried, and whether it was good: a larger one first, that does not fit.
    inodes = [int(i) for i in run.value("inodes").split()]
    faults = of("fault", "fault")
    good = [(f["ino"], f["order"]) for f in faults if not f["result"] & 0x853]
    assert (inodes[0], 18) in good and (inodes[1], 9) in good and (inodes[1], 0) in good, faults
    assert {f["ino"] for f in faults} == set(inodes), faults
    assert all(f["address"] > 0 for f in faults)

    assert [(f["start"], f["count"], f["used"]) for f in of("free", "free")] == \
        [(small["start"], 3, 1)]
    assert not of("free", "scrub")

    # The blocks that were dirty and no others.
    mine = [(s["block"], s["background"]) for s in of("scrub", "scrub")]
    assert sorted(mine) == [(small["start"] + i, 0) for i in range(3)], mine
    scrubbed = [(s["block"], s["background"]) for s in of("background", "scrub")]
    free = {b for b in range(640) if not large["start"] <= b < large["start"] + 512}
    assert {b for b, _ in scrubbed} == free and len(scrubbed) <= len(free) + 1, scrubbed
    assert sum(background for _, background in scrubbed) >= len(free) - 1

    [poison] = of("poison", "poison")
    assert (poison["block"], poison["pfn"]) == (0, int(run.value("start")) + 3), poison

    # In the log, by boot.
    with_events = [[] for _ in run.boots]
    for boot, part in enumerate(re.split(r"\] Linux version \d", run.log)[1:]):
        for m in re.finditer(r"\] guestmemfs_(\w+): (node=.*?)\r?$", part, re.MULTILINE):
            with_events[boot].append((m[1], fields(m[2])))

    def logged(boot, name):
        return {got["node"]: got for event, got in with_events[boot - 1] if event == name}

    for boot in (1, 2, 3):
        preserved = logged(boot, "preserve")
        assert {n: p["blocks"] for n, p in preserved.items()} == {0: 64, 1: 640}, preserved
        retrieved = logged(boot, "retrieve")
        assert {n: r["generation"] for n, r in retrieved.items()} == \
            ({} if boot == 1 else {0: boot - 1, 1: boot - 1}), retrieved
        assert all(re.match(r"7\.3", str(r["release"])) for r in retrieved.values()), retrieved
        frozen = logged(boot, "freeze")
        assert {n: f["generation"] for n, f in frozen.items()} == \
            ({} if boot == 3 else {0: boot - 1, 1: boot - 1}), frozen
        assert all(8 <= f["meta_blocks"] <= 64 for f in frozen.values()), frozen


def test_resizing(vm):
    """A unit that enters or leaves a pool, or that is tried in vain."""
    run = vm(r"""
    dir=/sys/fs/guestmemfs/node1
    check_kho
    mount_node 1
    cd /sys/kernel/tracing
    for name in grow shrink move; do
        echo 1 > events/guestmemfs/guestmemfs_$name/enable
    done
    units() {
        echo "mark $1" > trace_marker
        cat $dir/extents | sed "s/^/extents=$1 /"
    }
    units before
    echo +1G > $dir/target
    units grown
    # Both gibibytes in use: one of them is emptied, but not if a signal comes first.
    truncate -s 400M /mnt/node1/one
    truncate -s 700M /mnt/node1/two
    rm /mnt/node1/one
    truncate -s 700M /mnt/node1/three
    truncate -s 400M /mnt/node1/two
    truncate -s 400M /mnt/node1/three
    equal "$(cat $dir/free_1g)" 0 'whole gibibytes'
    echo 2 > /sys/kernel/debug/guestmemfs/hold_move
    sh -c "echo -1G > $dir/target" & task=$!
    for _ in $(seq 300); do
        ! grep -q gmfs_move /proc/$task/stack || break
        sleep 0.1
    done
    kill -9 $task
    wait $task || true
    echo 0 > /sys/kernel/debug/guestmemfs/hold_move
    units interrupted
    echo -1G > $dir/target
    units shrunk
    # What the kernel cannot give up.
    echo 9G > $dir/target 2> /dev/null || true
    sed 's/^/T: /' trace
    """, boots=1, topology="node=0,cpus=0-1,mem=2G;node=1,mem=6G", append="guestmemfs=1:1G",
             expect=[r"guestmem_pool: node 1: pool of \d+ MiB has \d+ MiB now$"])

    steps = {"start": []}
    now = steps["start"]
    for line in run.lines(r"^T: "):
        mark = re.search(r": mark (\w+)", line)
        event = re.search(r": guestmemfs_(\w+): (.*)", line)
        if mark:
            now = steps[mark[1]] = []
        elif event:
            now.append((event[1], fields(event[2])))

    def extents(step):
        """Gibibytes of the pool, by address."""
        got = set()
        for line in run.lines(f"^extents={step} "):
            base, size = (int(number, 16) for number in line.split()[1:])
            got |= set(range(base, base + size, 1 << 30))
        return got

    def units(step):
        return [(name, got["node"], got["base"], got["size"], got["err"])
                for name, got in steps[step] if name != "move"]

    before, grown, shrunk = (extents(step) for step in ("before", "grown", "shrunk"))
    [new] = grown - before
    *_, last = units("before")
    assert last == ("grow", 1, new, 1 << 30, 0), units("before")
    # The events of the shrinking come after the mark of what was before it.
    [interrupted] = units("grown")
    assert interrupted[:2] == ("shrink", 1) and interrupted[2] in grown, interrupted
    assert interrupted[3:] == (1 << 30, -4), interrupted
    [gone] = grown - shrunk
    assert units("interrupted") == [("shrink", 1, gone, 1 << 30, 0)], units("interrupted")
    moves = [got for name, got in steps["grown"] + steps["interrupted"] if name == "move"]
    assert len(moves) > 100 and not any(got["err"] for got in moves), len(moves)
    # Of all that the kernel has, something cannot be had.
    failed = [unit for unit in units("shrunk") if unit[4]]
    assert failed and all(unit[0] == "grow" and unit[4] < 0 for unit in failed), units("shrunk")
