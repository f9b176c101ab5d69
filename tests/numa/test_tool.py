# SPDX-License-Identifier: GPL-2.0
"""gmfs-numa on machines with guestmemfs; what needs none is in test_tool_*.py.

JSON goes through the scratch folder to the host, to be held against the schemas. Where
sanitize=True, the tool is the one with ASan and UBSan.
"""

import os

import pytest
from conftest import KERNEL, TOP
from tool import build, check_json, parse_metrics

TOOL = r"""
# From memory: it is called often, and large with its libraries.
mkdir /tmp/tool
cp $(ldd "$tool" | grep -o '/[^ ]*') "$tool" "${tool%/*}/gmfs-state" /tmp/tool/
export LD_LIBRARY_PATH=/tmp/tool
PATH=/tmp/tool:$PATH
export UBSAN_OPTIONS=exitcode=99:print_stacktrace=1

# t STATUS ARG...: the tool has to end with that; $out and $err are what it says; with
# leaks=1 it must not have lost memory
t() {
    t_want=$1
    shift
    t_status=0
    ASAN_OPTIONS=exitcode=99:detect_leaks=$leaks \
        $as gmfs-numa "$@" > /tmp/out 2> /tmp/err || t_status=$?
    out=$(cat /tmp/out)
    err=$(cat /tmp/err)
    equal "$t_status" "$t_want" "gmfs-numa $*: $out $err: status"
}
as=
leaks=0
export ASAN_OPTIONS=detect_leaks=0

# j NAME COMMAND ARG...: the same, and what it prints is JSON, which is kept
j() {
    j_name=$1
    shift
    t "${j_status:-0}" "$@" --json
    cp /tmp/out "$VM_SCRATCH/$j_name.$1.json"
}

nobody='setpriv --reuid=65534 --regid=65534 --clear-groups'

# hold FILE: a process that has it mapped, whose number is $held
hold() {
    rm -f /tmp/hold
    python3 -c 'import mmap, sys, time
f = open(sys.argv[1], "r+b")
m = mmap.mmap(f.fileno(), 0)
f.close()
print("ready", flush=True)
time.sleep(1000)' "$1" > /tmp/hold &
    held=$!
    wait_for /tmp/hold ready
}
at=/run/guestmemfs
"""

TWO = dict(nodes=2, mem="1536M", cpus=4, append="guestmemfs=0:256M,1:384M")


@pytest.fixture
def run(vm, tmp_path):
    """run(script, ...) -> (Run, {name: object of JSON})"""
    def start(script, boots=1, sanitize=False, **kwargs):
        done = vm(f"tool={build(sanitize)}\n" + TOOL + script, boots=boots, **kwargs)
        found = {}
        for name in sorted(os.listdir(tmp_path / "scratch")):
            if name.endswith(".json"):
                key, command, _ = name.split(".")
                found[key] = check_json(command, (tmp_path / "scratch" / name).read_text())
        return done, found
    return start


def test_mount(run):
    """Once is enough, and it says what is in the way."""
    run(r"""
    # (three nodes, of which the last has no pool)
    t 0 mount
    equal "$out" "node 0 is mounted at $at/node0
node 1 is mounted at $at/node1" 'output'
    t 0 mount node1
    equal "$out" "node 1 is mounted at $at/node1 already" 'output'
    equal "$(grep -c guestmemfs /proc/self/mountinfo)" 2 'mounts'
    for option in nosuid nodev noexec nosymfollow; do
        has "$(grep -w $at/node1 /proc/self/mountinfo)" "[ ,]$option[ ,]" 'default options'
    done
    # By another name it is mounted as well.
    ln -s $at /tmp/link
    for base in /tmp/link $at/. $at/../guestmemfs $at/; do
        t 0 mount --base $base 1
        has "$out" 'already' 'a base by another name'
    done
    t 0 umount --base /tmp/link 1
    has "$out" 'is unmounted' 'a base by another name'
    [ ! -e $at/node1 ] || die 'the directory is left'
    # The directory is that of fstab, which has it by another name.
    echo 'none /tmp/link/./node1 guestmemfs node=1,noauto 0 0' > /tmp/fstab
    export LIBMOUNT_FSTAB=/tmp/fstab
    t 0 mount --base $at 1
    t 0 umount --base $at 1
    [ -d $at/node1 ] || die 'a directory of fstab is removed'
    unset LIBMOUNT_FSTAB
    rmdir $at/node1
    (umask 077 && gmfs-numa mount --base /tmp/umask/x 1)
    equal "$(stat -c %a /tmp/umask /tmp/umask/x | sort -u)" 755 'mode of directories'
    t 0 umount --base /tmp/umask/x
    t 0 mount 1
    t 69 mount 2
    has "$err" 'nodes with a pool: 0, 1' 'a node without a pool'
    echo text > /tmp/text
    : > $at/node1/file
    exec 5< $at/node1/file
    t 2 umount
    has "$err" 'node 1: .*busy' 'a mount in use'
    # The other is unmounted all the same.
    ! mountpoint -q $at/node0
    exec 5<&-
    t 0 umount
    has "$out" 'node 0 is not mounted' 'output'
    has "$out" 'node 1 is unmounted' 'output'
    equal "$(grep -c guestmemfs /proc/self/mountinfo || true)" 0 'mounts'

    t 0 mount --base /mnt/a/b --mode 0750 --uid 1000 --gid 1001 --options exec,symfollow,nr_inodes=100 1
    equal "$(stat -c '%a %u %g' /mnt/a/b/node1)" '750 1000 1001' 'mode and owner'
    [ -e /mnt/a/b/node1/file ] || die 'files do not stay'
    ! grep guestmemfs /proc/self/mountinfo | grep -E 'noexec|nosymfollow' || die 'options'
    has "$(grep guestmemfs /proc/self/mountinfo)" 'nosuid,nodev' 'options'
    equal "$(cat /sys/fs/guestmemfs/node1/max_inodes)" 100 'nr_inodes='
    t 0 umount 1
    has "$out" "node 1 is not mounted at $at/node1" 'another base'
    t 0 umount --base /mnt/a/b
    mkdir -p /mnt/c/node0 /mnt/c/node1
    mount -t tmpfs none /mnt/c/node0
    t 2 mount --base /mnt/c
    has "$err" 'node 0: something else is mounted at /mnt/c/node0' 'tmpfs in its place'
    mountpoint -q /mnt/c/node1
    t 0 umount --base /mnt/c
    mountpoint -q /mnt/c/node0
    umount /mnt/c/node0
    mount -t guestmemfs -o node=1 none /mnt/c/node0
    t 2 mount --base /mnt/c 0
    umount /mnt/c/node0
    t 2 mount --base /tmp/text 0
    has "$err" 'Not a directory' 'a file in the way'
    t 2 mount --mode 999 0
    t 2 mount --options nonsense=1 0
    [ ! -e $at/node0 ] || die 'the directory of a mount that failed is left'
    t 64 mount --base mnt 0
    as=$nobody
    t 2 mount 1
    t 2 mount --base /tmp/x 1
    as=
    ! mountpoint -q $at/node1
    """, nodes=3, mem="1536M", append="guestmemfs=0:256M,1:256M",
        expect=[r"guestmemfs: Unknown parameter 'nonsense'",
                r"guestmemfs: Bad value for 'mode'"])


def test_files(run):
    """ls, tag, reap and verify: where files are, whose they are, and which can go."""
    _, found = run(r"""
    j none ls
    t 0 mount
    cd $at/node1
    truncate -s 1G giant
    j giant ls
    j path ls ./giant
    t 0 verify giant
    rm giant

    truncate -s 64M part
    truncate -s 32M 'a "name" with	all
of it'
    mkdir dir
    truncate -s 2M dir/secret
    chmod 600 dir/secret
    : > dir/empty
    ln -s part link
    mkfifo fifo
    truncate -s 4M $at/node0/other
    t 0 tag part
    equal "$out" 'owner=
vmm=
since=' 'tags of a file without'
    t 0 tag part owner=8d2e-uuid vmm=qemu
    t 0 tag part
    has "$out" '^owner=8d2e-uuid$' owner
    has "$out" '^vmm=qemu$' vmm
    has "$out" '^since=20[0-9-]{8}T[0-9:]{8}Z$' since
    t 0 tag part vmm=
    t 0 tag part
    has "$out" '^vmm=$' 'vmm that was taken away'
    has "$out" '^owner=8d2e-uuid$' 'owner that was left'
    t 64 tag part nonsense=1
    t 64 tag part owner="$(printf %0300d 1)"
    t 2 tag /etc/passwd
    t 2 tag none
    hold part
    # A mapping fills holes, but not those that come later.
    fallocate -p -o 10M -l 20M part
    j files ls
    j node0 ls 0
    j dir ls ./dir
    t 0 files -rn -o users ./part
    equal "$out" "$held(python3)" 'who has it mapped'
    equal "$(gmfs-numa ls -n -o file | wc -l)" 5 'lines of a table'
    t 2 ls /etc
    has "$err" 'not on guestmemfs' 'another file system'
    t 2 ls ./none
    as=$nobody
    j nobody ls
    t 2 tag part owner=me
    has "$err" 'Permission denied|not permitted' 'a tag of somebody else'
    t 2 verify part
    has "$err" 'only root' 'verify by nobody'
    as=
    t 0 verify part $at/node0/other dir/empty
    has "$out" '^part: 44M in [0-9] pieces, all on node 1 as the firmware has it$' 'verify'
    t 2 verify part /etc/passwd
    t 2 verify link/none
    kill $held

    # What can go: nothing of what has an owner that may live, or is in use.
    rm -r part a* dir fifo link ../node0/other
    for file in alive dead none machine mapped open reused; do
        truncate -s 2M $file
    done
    sleep 1000 &
    alive=$!
    gone=$(sh -c 'echo $$')
    t 0 tag alive owner=pid:$alive
    t 0 tag dead owner=pid:$gone vmm=x
    t 0 tag machine owner=5e2c-uuid
    t 0 tag mapped owner=pid:$gone
    t 0 tag open owner=pid:$gone
    t 0 tag reused owner=pid:$alive
    # Its number is alive, but it was tagged under another kernel.
    python3 -c 'import os; os.setxattr("reused", "user.guestmemfs.boot", b"11111111-2222")'
    hold mapped
    exec 5< open
    j reap reap
    j reapmore reap --no-owner 1
    t 0 reap --no-owner --older-than 1h
    equal "$out" '' 'files that are older'
    t 0 reap -rn -o file,removed ./dead
    equal "$out" './dead no' 'a path'
    t 0 reap -rn -o file 0
    equal "$out" '' 'another node'
    t 2 reap /etc
    as=$nobody
    t 2 reap --yes
    t 0 reap -rn -o file
    as=
    equal "$(ls | wc -l)" 7 'files, of which nothing was removed'
    sleep 2
    t 0 reap --older-than 1s -rn -o file ./dead
    equal "$out" './dead' 'older than a second'
    j reaped reap --no-owner --yes
    equal "$(ls | tr '\n' ' ')" 'alive machine mapped open reused ' 'what is left'
    kill $alive $held
    wait $alive $held || true
    exec 5<&-
    leaks=1
    t 0 reap --yes --earlier-boots
    equal "$(ls)" 'machine' 'what is left'
    t 0 tag machine vmm=x
    t 0 tag machine
    t 0 ls
    t 0 verify machine
    t 0 run --size 2M -- true
    t 0 umount 0
    t 0 mount 0
    """, nodes=2, mem="3G", append="guestmemfs=0:256M,1:1G nokaslr", sanitize=True)

    assert found["none"] == {"files": []}
    giant, = found["giant"]["files"]
    assert (giant["pieces"], giant["1g"], giant["size"]) == (1, 1 << 30, 1 << 30)
    assert found["path"]["files"][0] == {**giant, "file": "./giant"}
    files = {f["file"].replace("/run/guestmemfs/", ""): f for f in found["files"]["files"]}
    assert set(files) == {"node0/other", "node1/part", "node1/dir/secret", "node1/dir/empty",
                          'node1/a "name" with\tall\nof it'}
    part = files["node1/part"]
    assert (part["size"], part["allocated"], part["1g"]) == (64 << 20, 44 << 20, 0)
    assert part["pieces"] >= 2 and part["owner"] == "8d2e-uuid" and part["vmm"] is None
    assert [u["command"] for u in part["users"]] == ["python3"]
    assert files["node1/dir/empty"]["pieces"] == 0 and files["node1/dir/empty"]["mode"] == "0644"
    assert files["node0/other"]["node"] == 0 and files["node0/other"]["users"] == []
    assert [f["file"] for f in found["node0"]["files"]] == ["/run/guestmemfs/node0/other"]
    assert {f["file"] for f in found["dir"]["files"]} == {"./dir/secret", "./dir/empty"}
    # To nobody is told what is no secret.
    seen = {f["file"].replace("/run/guestmemfs/", ""): f for f in found["nobody"]["files"]}
    assert set(seen) == set(files)
    assert seen["node1/dir/secret"]["pieces"] is None and seen["node1/part"]["pieces"] == part["pieces"]
    assert seen["node1/part"]["1g"] is None and seen["node1/part"]["users"] is None

    def names(name):
        return {f["file"].rpartition("/")[2]: f for f in found[name]["files"]}
    assert set(names("reap")) == {"dead", "reused"}
    assert set(names("reapmore")) == {"dead", "reused", "none"}
    assert not any(f["removed"] for f in found["reapmore"]["files"])
    assert set(names("reaped")) == {"dead", "reused", "none"}
    assert all(f["removed"] == (n != "reused") and f["allocated"] == 2 << 20
               for n, f in names("reaped").items())
    assert "of an earlier boot" in names("reaped")["reused"]["reason"]
    assert names("reaped")["none"]["owner"] is None


def test_run(run):
    """A command on a node: where it runs, what it is told, and how it ends."""
    run(r"""
    t 2 run --node 1 --size 64M -- true
    has "$err" 'gmfs-numa mount 1' 'a node that is not mounted'
    t 0 mount

    # The command is on the node with its CPUs and what it allocates.
    t 0 run --node 1 --size 64M -- sh -c 'echo path={} size={size} twice={}{};
        stat -Lc "blocks=%b mode=%a" {}; readlink {}; grep Cpus_allowed_list /proc/self/status; numactl --show'
    has "$out" "^path=(/proc/self/fd/[0-9]+) size=67108864 twice=\1\1\$" 'substitution'
    has "$out" '^blocks=131072 mode=600$' 'the file, with all of its memory'
    has "$out" "^$at/node1/run-[0-9]+\$" 'its name'
    has "$out" '^Cpus_allowed_list:.2-3$' 'CPUs'
    has "$out" '^policy: bind' 'policy'
    has "$out" '^membind: 1 $' 'memory'
    has "$out" '^physcpubind: 2 3 $' 'CPUs by numactl'
    equal "$(ls $at/node1)" '' 'files afterwards'
    # By proof of the tool.
    t 0 run --node 1 --size 16M --name vm -- sh -c 'gmfs-numa verify $$ {} && gmfs-numa ls -rn -o file,owner,vmm'
    has "$out" '^process [0-9]*: CPUs 2-3 and memory, all on node 1$' 'verify of the process'
    has "$out" "^/proc/self/fd/[0-9]+: 16M in 1 piece, all on node 1 as" 'verify of the file'
    has "$out" "^$at/node1/vm pid:[0-9]+ sh\$" 'tags'
    numactl --cpunodebind=1 --membind=0 sleep 1000 &
    wrong=$!
    numactl --physcpubind=1,2 sleep 1000 &
    spread=$!
    for pid in $wrong $spread; do
        until [ "$(cat /proc/$pid/comm)" = sleep ]; do
            sleep 0.1
        done
    done
    t 1 verify $wrong
    has "$out" "^process $wrong: [0-9]+ pages are not on node 1: " 'memory on the wrong node'
    t 1 verify $wrong $spread
    has "$out" "^process $spread: its CPUs 1-2 are not of one node" 'CPUs of two nodes'
    kill $wrong $spread
    # A thread alone that is pinned: to a CPU of its process' node, and elsewhere.
    for cpu in 3 0; do
        numactl --cpunodebind=1 --membind=1 python3 -c 'import os, sys, threading, time
def pinned():
    os.sched_setaffinity(0, {int(sys.argv[1])})
    print("ready", flush=True)
    time.sleep(1000)
threading.Thread(target=pinned).start()' $cpu > /tmp/hold &
        held=$!
        wait_for /tmp/hold ready
        t $((cpu == 0)) verify $held
        [ $cpu = 3 ] || has "$out" "^process $held: the CPUs (0|2-3) of its thread [0-9]+ are of node [01], not" \
            'a thread on another node'
        kill $held
        wait $held || true
        rm /tmp/hold
    done
    # Private pages of a file of which others are on another node: here, and there.
    for node in 0 1; do
        numactl --membind=$node dd if=/dev/zero bs=4k count=4 2> /dev/null
    done > /tmp/library
    for node in 1 0; do
        numactl --cpunodebind=1 --membind=1 python3 -c 'import ctypes, mmap, sys, time
library = open("/tmp/library", "rb")
mapping = mmap.mmap(library.fileno(), 0, access=mmap.ACCESS_COPY)
address = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(mapping)))
mask = ctypes.c_ulong(1 << int(sys.argv[1]))
assert not ctypes.CDLL("libnuma.so.1").mbind(address, ctypes.c_ulong(8 << 12), 2,
                                             ctypes.byref(mask), ctypes.c_ulong(64), 0)
sum(mapping[i << 12] for i in range(8))
mapping[0] = mapping[7 << 12] = 1
print("ready", flush=True)
time.sleep(1000)' $node > /tmp/hold &
        held=$!
        wait_for /tmp/hold ready
        t $((1 - node)) verify $held
        [ $node = 1 ] || has "$out" '2 pages are not on node 1: .*/tmp/library' 'private pages'
        kill $held
        wait $held || true
        rm /tmp/hold
    done
    # The guest's memory, of which numa_maps has no pages: on node 0, and the rest on node 1.
    fallocate -l 2M $at/node0/guest
    hold $at/node0/guest
    taskset -pc 2-3 $held > /dev/null
    t 1 verify $held
    has "$out" "^process $held: it has memory of node 0, not of node 1: $at/node0/guest\$" \
        'memory of a pool on the wrong node'
    kill $held
    rm $at/node0/guest

    # What the command leaves in the background keeps its memory, by whatever way it has it.
    for keeps in 'exec sleep 1000 < {}' 'exec sleep 1000'; do
        t 0 run --node 1 --size 2M --name vm -- sh -c "($keeps) > /dev/null 2>&1 & echo \$!"
        has "$err" "$at/node1/vm stays: it is still in use" 'a command in the background'
        kill $out
        rm $at/node1/vm
    done

    # Without privileges, on a node that others have; whatever they do to the name.
    chown 65534 $at/node1
    t 0 run --node 1 --size 2M --name vm --user 65534 --group 65534 -- sh -c "
        id -u; stat -Lc %u:%g {}; grep -c '^CapEff:.0*\$' /proc/self/status
        mv $at/node1/vm $at/node1/x; ln -s /etc/passwd $at/node1/vm; : 1<> {} && readlink {}"
    equal "$(echo $out)" "65534 65534:65534 1 $at/node1/x" 'a command without privileges'
    has "$err" "$at/node1/vm is not the command's file any more" 'a name that was moved'
    rm $at/node1/x $at/node1/vm
    chown 0 $at/node1

    # Which node.
    t 0 run --size 300M -- readlink {}
    has "$out" "^$at/node1/" 'the one with room'
    t 0 run --node auto --size 300M -- readlink {}
    has "$out" "^$at/node1/" 'auto'
    t 0 run --near 2 --size 2M -- readlink {}
    has "$out" "^$at/node1/" 'near a CPU'
    t 0 run --near 0-1 --size 2M -- readlink {}
    has "$out" "^$at/node0/" 'near others'
    # Farther, as there is no room.
    t 0 run --near 0-1 --size 300M -- readlink {}
    has "$out" "^$at/node1/" 'near, but there is no room'
    t 64 run --near 99 --size 2M -- true
    t 64 run --near nonsense --size 2M -- true

    # How it ends.
    for status in 0 1 2 69 99 125; do
        t $status run --size 2M -- sh -c "exit $status"
    done
    t 127 run --size 2M -- /none
    t 127 run --size 2M -- none
    t 126 run --size 2M -- /etc/passwd
    t 137 run --size 2M -- sh -c 'kill -KILL $$'
    t 143 run --size 2M -- sh -c 'kill -TERM $$'
    t 64 run --size 3M --node 1 -- true
    t 64 run --size 2M --node 7-8 -- true
    t 69 run --size 2M --node 7 -- true
    t 2 run --size 1G -- true
    has "$err" 'no node has 1G free' 'too large for all'
    t 2 run --size 1G --node 1 -- true
    # The kernel can have been in the way of the pool.
    run=$(($(cat /sys/fs/guestmemfs/node1/largest_free_run) * 2))
    has "$err" "longest free run of node 1: ${run}M" 'too large'
    equal "$(ls $at/node0 $at/node1)" "$at/node0:

$at/node1:" 'files after all of this'
    equal "$(free_blocks $at/node1)" 192 'free blocks'

    # Signals go to the command, and the file goes afterwards.
    for sig in TERM INT HUP USR1; do
        rm -f /tmp/started
        # A background job of a shell without job control starts with SIGINT ignored.
        env --default-signal=INT gmfs-numa run --size 4M --name killed -- sh -c "
            trap 'echo caught > /tmp/caught; exit 5' $sig
            touch /tmp/started; while :; do sleep 0.1; done" 2> /tmp/err &
        pid=$!
        for _ in $(seq 100); do [ ! -e /tmp/started ] || break; sleep 0.1; done
        ls $at/node*/killed > /dev/null
        kill -$sig $pid
        status=0
        wait $pid || status=$?
        equal "$status" 5 "status after SIG$sig"
        wait_for /tmp/caught caught
        rm /tmp/caught
        fails ls $at/node0/killed $at/node1/killed 2> /dev/null
    done

    # Names, owners, and what stays.
    t 0 run --node 0 --size 4M --name stays --owner 8d2e-uuid --keep -- true
    t 0 ls -rn -o file,size,owner,vmm
    equal "$out" "$at/node0/stays 4M 8d2e-uuid true" 'a file that is kept'
    t 2 run --node 0 --size 2M --name stays -- true
    has "$err" 'stays: File exists' 'a name that is taken'
    equal "$(stat -c %s $at/node0/stays)" 4194304 'size of the file that was there'
    t 0 mount --base /mnt/x 1
    t 0 run --node 1 --size 2M --base /mnt/x -- readlink {}
    has "$out" '^/mnt/x/node1/' base

    # What QEMU is told.
    cat > /tmp/qemu <<'EOF'
#!/bin/sh
printf '<%s>\n' "$@"
EOF
    chmod +x /tmp/qemu
    t 0 run --node 1 --size 32M --name 'v,m' --qemu -- /tmp/qemu -cpu host
    equal "$out" "<-cpu>
<host>
<-object>
<memory-backend-file,id=guestmemfs,mem-path=/proc/self/fd/100,size=33554432,share=on,align=2M>
<-machine>
<memory-backend=guestmemfs>
<-m>
<size=32M>" 'arguments of QEMU'
    t 0 run --node 1 --size 32M --qemu -- /tmp/qemu -m 32M
    equal "$(echo "$out" | grep -c '^<-m>$')" 1 'memory is said once'

    # Somebody else may start on what he may write to.
    as=$nobody
    t 2 run --node 1 --size 2M -- true
    chmod 1777 $at/node1
    t 0 run --node 1 --size 2M -- stat -Lc %u {}
    equal "$out" 65534 'owner of the file'
    # But not on what is reserved.
    as=
    t 0 set 1 reserve=100%
    as=$nobody
    t 2 run --node 1 --size 2M -- true
    t 2 run --size 300M -- true
    has "$err" 'no node has 300M free' 'auto, of what is reserved'
    """, **TWO)


def test_carve(run):
    """Memory of a file becomes that of another and goes back, and no block is lost or shown."""
    _, found = run(r"""
    cat > /tmp/mem.py <<'END'
import mmap, os, sys
# fill FILE TEXT | show FILE: a letter a block: of its first byte, "0" for zeroes, "_" for a hole.
B = 2 << 20
fd = os.open(sys.argv[2], os.O_RDWR)
size = os.fstat(fd).st_size
if sys.argv[1] == "fill":
    with mmap.mmap(fd, size) as m:
        for i, c in enumerate(sys.argv[3].encode()):
            m[i * B:(i + 1) * B] = bytes([c]) * B
else:
    holes = [os.lseek(fd, i, os.SEEK_HOLE) == i for i in range(0, size, B)]
    with mmap.mmap(fd, size, mmap.MAP_SHARED | 0x4000) as m:    # MAP_NORESERVE
        for i, hole in enumerate(holes):
            block = b"_" * B if hole else m[i * B:(i + 1) * B]
            print(chr(block[0] or 48) if block == block[:1] * B else "?", end="")
    print()
END
    mem() { python3 /tmp/mem.py "$@"; }
    t 0 mount
    cd $at/node1
    truncate -s 16M parent
    chmod 640 parent
    chown 65534:0 parent
    mem fill parent abcdefgh
    free=$(cat /sys/fs/guestmemfs/node1/free_blocks)

    j carve carve --dry-run --size 4M parent child
    equal "$(ls) $(mem show parent)" 'parent abcdefgh' 'a dry run'
    t 0 carve --size 4M parent child
    equal "$(mem show parent) $(mem show child)" 'abcdef__ 00' 'what is zeroed'
    equal "$(stat -c '%a %u %g' child)" '640 65534 0' 'owner and mode'
    t 0 carve --keep --size 2M --offset 2M parent kept
    equal "$(mem show parent) $(mem show kept)" 'a_cdef__ b' 'what is kept'
    t 2 carve --size 2M parent child
    has "$err" 'File exists' 'a child that is there'
    t 2 carve --size 2M --offset 2M parent other
    has "$err" 'is a hole' 'a hole'
    t 2 carve --size 2M parent $at/node0/child
    has "$err" 'has to be on node 1' 'another node'
    t 2 uncarve child kept
    has "$err" 'carved out of another file' 'another parent'

    mem fill child xy
    hold child
    t 2 uncarve child parent
    has "$err" 'it is in use' 'a child with a user'
    kill $held
    wait $held || true
    t 2 uncarve --offset 2M child parent
    has "$err" 'has other memory at 4M' 'a hole that is too short'
    t 0 uncarve --offset 12M --dry-run child parent
    j uncarve uncarve child parent
    t 0 uncarve --keep kept parent
    equal "$(ls) $(mem show parent)" 'parent abcdef00' 'what came back'
    mem fill parent abcdefgh

    # A machine that runs keeps what it maps.
    hold parent
    t 2 carve --size 2M parent child
    has "$err" "mapped by $held.python3" 'a mapping'
    kill $held
    wait $held || true
    # Nobody in /proc has it: a descriptor in a socket.
    python3 -c 'import os, socket, sys, time
a, b = socket.socketpair()
fd = os.open("parent", os.O_RDWR)
socket.send_fds(a, [b"x"], [fd])
os.close(fd)
print("ready", flush=True)
time.sleep(1000)' > /tmp/socket &
    held=$!
    wait_for /tmp/socket ready
    t 2 carve --size 2M parent child
    has "$err" 'by no process that has it mapped or open' 'a descriptor in a socket'
    kill $held
    wait $held || true

    # Its hole is filled by a touch: the memory of the child is not wanted there any more.
    t 0 carve --size 4M parent child
    mem fill parent abcdefgh
    t 2 uncarve child parent
    has "$err" 'has other memory at 12M' 'a hole that was filled'
    rm child

    # Killed at any instant: each block is in one file, and what was not to be taken is there.
    for i in $(seq 10); do
        gmfs-numa carve --size 4M parent child > /dev/null &
        sleep 0.$((RANDOM % 10))$((RANDOM % 10))
        kill -9 $! 2> /dev/null || true
        wait $! || true
        case "$(mem show parent)" in
        abcdefgh|abcdef[0g][0h]) [ ! -s child ] || { echo "child: $(ls -l)"; exit 1; } ;;
        abcdef__) equal "$(mem show child)" 00 'the child of a killed one' ;;
        *) echo "parent: $(mem show parent)"; exit 1 ;;
        esac
        [ ! -s child ] || t 0 uncarve child parent
        rm -f child
        equal "$(cat /sys/fs/guestmemfs/node1/free_blocks)" "$free" 'free blocks'
        mem fill parent abcdefgh
    done

    # What the side-car has given up stays a hole: nothing is left that could fill it.
    t 0 carve --size 4M parent child
    mem fill child xy
    fallocate -p -o 2M -l 2M child
    truncate -s "$(cat /sys/fs/guestmemfs/node1/free_blocks | awk '{ print $1 * 2 "M" }')" rest
    equal "$(cat /sys/fs/guestmemfs/node1/free_blocks)" 0 'blocks that are free'
    t 0 uncarve child parent
    equal "$(mem show parent)" 'abcdef0_' 'a child with a hole'
    rm rest
    mem fill parent abcdefgh

    # A process that has it open stores after the memory was zeroed.
    exec 7< parent
    late=$(dirname "$(command -v late_store.so)")/late_store.so
    LD_PRELOAD=$late gmfs-numa carve --size 2M --offset 2M parent child > /dev/null
    equal "$(mem show child) $(stat -c %a child)" '0 640' 'what was stored late, and the mode'
    LD_PRELOAD=$late gmfs-numa carve --keep --size 2M --offset 4M parent kept > /dev/null
    equal "$(mem show kept)" L 'what was stored late, and is kept'
    exec 7<&-

    t 0 freeze 1
    t 2 carve --size 2M parent child
    has "$err" 'node 1 is frozen' 'a frozen node'
    t 0 thaw 1
    equal "$(cat /sys/fs/guestmemfs/node1/check)" ok check
    """, **TWO)
    carved, = found["carve"]["moved"]
    assert (carved["offset"], carved["size"], carved["zeroed"]) == (12 << 20, 4 << 20, True)
    assert found["uncarve"]["moved"] == [carved]


def test_store(run):
    """store and load: what goes in comes out, or nothing is left."""
    run(r"""
    t 0 mount
    cd $at/node1
    # More than the window in which it is read, and not whole.
    head -c 20000001 /dev/urandom > /tmp/data
    t 0 store file --owner 8d2e-uuid < /tmp/data
    equal "$(stat -c '%s %a' file)" '20000001 600' 'size and mode'
    gmfs-numa load file | cmp - /tmp/data
    t 0 tag file
    has "$out" '^owner=8d2e-uuid$' owner
    t 2 store file < /dev/null
    has "$err" 'there already' 'a file that is there'
    mkdir dir
    t 2 store --force dir < /tmp/data
    equal "$(ls)" "dir
file" 'files after stores that failed'
    gmfs-numa load file | cmp - /tmp/data
    t 0 store --force file < /dev/null
    equal "$(gmfs-numa load file | wc -c)" 0 'bytes of nothing'
    before=$(free_blocks .)
    truncate -s 200M /tmp/large
    t 2 store large < /tmp/large
    has "$err" 'no state is stored' 'more than there is room for'
    equal "$(free_blocks .)" "$before" 'free blocks'
    equal "$(ls)" "dir
file
file.replaced" 'files after stores that failed'
    # The sender could have been killed: what was there stays.
    gmfs-numa load file.replaced | cmp - /tmp/data
    t 2 store /tmp/x < /tmp/data
    has "$err" 'not on guestmemfs' 'another file system'
    t 2 store none/x < /tmp/data
    t 64 store < /tmp/data
    t 64 store a b < /tmp/data
    t 64 load
    t 2 load none
    t 2 load /tmp/data
    t 2 load dir
    # It stays until all of it is written.
    t 0 store --force file < /tmp/data
    status=0
    gmfs-numa load --remove file > /dev/full 2> /tmp/err || status=$?
    equal "$status" 2 'status on a disk that is full'
    [ -e file ] || die 'it is removed, and was not written'
    gmfs-numa load --remove file | cmp - /tmp/data
    equal "$(ls)" dir 'files after load --remove'
    # Exactly as much as is free, and a small state into the last block.
    free=$(free_blocks .)
    fallocate -l $(((free - 1) * 2))M rest
    equal "$(free_blocks .)" 1 'free blocks'
    head -c 300K /tmp/data > /tmp/small
    t 0 store file < /tmp/small
    gmfs-numa load --remove file | cmp - /tmp/small
    rm rest
    fallocate -l $(((free - 4) * 2))M rest
    head -c 8M /tmp/data > /tmp/small
    t 0 store file < /tmp/small
    equal "$(free_blocks .)" 0 'free blocks'
    gmfs-numa load --remove file | cmp - /tmp/small
    """, nodes=2, mem="1G", append="guestmemfs=1:128M", sanitize=True)


def test_settings(run, tmp_path):
    """get, set, freeze, thaw, discard, check, status --watch, metrics and the generator."""
    _, found = run(rf"""
    generator={TOP}/tools/gmfs-numa/systemd/gmfs-numa-generator
    """ + r"""
    n=/sys/fs/guestmemfs/node1
    t 0 set 1 reserve=10% zeroing=on-alloc scrub_rate=1G scrub_target=64M policy=first-fit low_watermark=32M
    equal "$(cat $n/reserve $n/zeroing $n/scrub_rate $n/scrub_target $n/policy $n/low_watermark | tr '\n' ' ')" \
        '20 on-alloc 1073741824 32 first-fit 16 ' 'what sysfs has'
    t 0 get -rn 1 reserve policy
    equal "$out" '1 reserve 20
1 policy first-fit' get
    t 0 set 0,1 scrub_rate=0 scrub_target=all reserve=0 policy=best-fit zeroing=background low_watermark=0
    equal "$(cat $n/scrub_target)" all 'scrub_target'
    t 64 set 1 policy=first-fit reserve=1000
    equal "$(cat $n/policy)" best-fit 'policy that was not written'
    j get get
    j status status
    j map map
    j check check
    t 0 map --svg "$VM_SCRATCH/map.svg"

    as=$nobody
    j nobody_status status
    j nobody_get get
    t 0 metrics
    j_status=1 j nobody_handover handover
    for command in check map 'set 1 reserve=1' 'freeze 1' thaw 'discard --yes 1'; do
        t 2 $command
        has "$err" 'only root' "$command by nobody"
    done
    as=

    # Whoever watches sees it at once, not in a minute.
    gmfs-numa status -w60 -rn -o node,state > /tmp/watch 2>&1 &
    watch=$!
    wait_for /tmp/watch '^1 active'
    t 0 freeze 1
    for _ in $(seq 50); do
        ! grep -q '^1 frozen' /tmp/watch || break
        sleep 0.1
    done
    has "$(cat /tmp/watch)" '^1 frozen' 'what a watcher sees within five seconds'
    kill $watch
    wait $watch || true
    t 0 mount 1
    touch $at/node1/file &
    toucher=$!
    sleep 1
    [ ! -e $at/node1/file ] || die 'a file is made on a node that is frozen'
    t 0 thaw
    wait $toucher
    [ -e $at/node1/file ] || die 'no file is made after thaw'

    t 2 discard --yes 1
    has "$err" "node 1 is mounted at $at/node1" 'a node that is mounted'
    t 0 umount
    t 64 discard 1 < /dev/null
    t 0 freeze 1
    t 2 discard --yes 1
    has "$err" 'thaw' 'a node that is frozen'
    t 0 thaw 1
    t 0 discard --yes 1
    t 0 mount 1
    equal "$(ls $at/node1)" '' 'files after it was discarded'
    t 0 check -rn -o node,good
    equal "$out" '0 yes
1 yes' check
    for node in 0 1; do
        t 0 check -rn -o node,good,result --dump=/sys/fs/guestmemfs/node$node/metadata
        equal "$out" "$node yes ok" 'check of the metadata of a node in use'
    done

    # A collector never sees half of it.
    gmfs-numa metrics --file /tmp/m.prom
    (for _ in $(seq 8); do gmfs-numa metrics --file /tmp/m.prom; done; touch /tmp/enough) &
    while [ ! -e /tmp/enough ]; do
        has "$(tail -n 1 /tmp/m.prom)" '^guestmemfs_state\{node="1",state="unknown"\} 0$' 'the last line'
    done
    equal "$(echo /tmp/m.prom*)" /tmp/m.prom 'files of metrics'
    t 0 metrics
    cp /tmp/out "$VM_SCRATCH/metrics"
    cp /tmp/m.prom "$VM_SCRATCH/prometheus"

    # Each node with a pool has a unit, without anybody doing something.
    mkdir /tmp/g1 /tmp/g2 /tmp/g3
    # The root of the machine is that of the host, which may be a container.
    mkdir /tmp/virt
    printf '#!/bin/sh\n[ "$1" = -cq ] && exit 1\n' > /tmp/virt/systemd-detect-virt
    chmod +x /tmp/virt/systemd-detect-virt
    PATH=/tmp/virt:$PATH "$generator" /tmp/g1 /tmp/g2 /tmp/g3
    equal "$(find /tmp/g1 -type l -name 'guestmemfs@*' | sort | sed 's|.*/||' | tr '\n' ' ')" \
        'guestmemfs@0.service guestmemfs@1.service ' 'units'
    equal "$(find /tmp/g2 /tmp/g3 -type l)" '' 'in other directories'
    """, **TWO, expect=[r"guestmem_pool: node 1: pool of 192 blocks discarded"])
    nodes = found["status"]["nodes"]
    assert [n["size"] for n in nodes] == [256 << 20, 384 << 20]
    assert [n["cpus"] for n in nodes] == ["0-1", "2-3"]
    assert [n["near"] for n in nodes] == ["1(20)", "0(20)"]
    assert all(c["good"] for c in found["check"]["checks"])
    for name, (_, samples) in parse_metrics((tmp_path / "scratch" / "metrics").read_text()).items():
        assert {dict(labels)["node"] for _, labels in samples} == {"0", "1"}, name
    parse_metrics((tmp_path / "scratch" / "prometheus").read_text(), prometheus=True)
    # Users other than root see as much, but for the map and what is for root only.
    assert len(found["status"]["nodes"]) == len(found["nobody_status"]["nodes"])
    names = {key: [v["name"] for v in found[key]["values"]] for key in ("get", "nobody_get")}
    assert [n for n in names["get"] if n not in ("resize_error", "target")] == names["nobody_get"]
    assert [n["size"] for n in found["nobody_status"]["nodes"]] == [n["size"] for n in nodes]
    results = {r["check"]: r["result"] for r in found["nobody_handover"]["handover"]}
    # But is not told that all is good, but for a node that is mounted nowhere.
    assert (results["users"], results["metadata0"]) == ("ok", "unknown")


def test_handover(run):
    """Ready, and then done: into the next kernel, with the files there."""
    _, found = run(rf"""
    image={KERNEL}
    config={os.path.abspath(os.path.join(os.path.dirname(KERNEL), "../../..", ".config"))}
    """ + r"""
    ctl=$(cat /run/vm/ctldir)
    user=$(sed 's/.* vm\.append//' /proc/cmdline)
    line="$(cat "$ctl/cmdline") vm.boot=$((VM_BOOT + 1)) vm.append$user"
    initrd="/run/vm/host$(cat "$ctl/initramfs")"
    if [ "$VM_BOOT" = 1 ]; then
        t 0 mount
        memfile fill $at/node1/vm 32M 7
        t 0 tag $at/node1/vm owner=8d2e-uuid
        memfile fill $at/node1/untagged 4M 8
        memfile fill $at/node1/failed 2M 9
        t 0 tag $at/node1/failed owner=pid:$(sh -c 'echo $$')
        t 0 set 1 reserve=8M
        j_status=1 j before handover
        j good handover --kernel "$image" --config "$config" --command-line "$line"
        t 1 handover --kernel "$image" --config "$config" --command-line "$line kho=off"
        t 1 handover --kernel "$image" --config "$config" --command-line "$line guestmemfs=fresh"
        t 1 handover --kernel /etc/passwd
        # With somebody who has it mapped it is not ready, and he is named.
        hold $at/node1/vm
        j_status=1 j held handover --kernel "$image" --config "$config" --command-line "$line"
        t 1 handover --exec "$image" --config "$config" --command-line "$line" --initrd "$initrd"
        equal "$(cat /sys/kernel/kexec_loaded)" 0 'a kernel is loaded though it is not ready'
        kill $held
        wait $held || true
        # A file without a name whose only descriptor is in a socket.
        python3 -c 'import os, socket, sys, time
fd = os.open(sys.argv[1], os.O_CREAT | os.O_RDWR)
a, b = socket.socketpair()
socket.send_fds(a, [b"x"], [fd])
os.close(fd)
os.unlink(sys.argv[1])
print("ready", flush=True)
time.sleep(1000)' $at/node1/gone > /tmp/hold &
        held=$!
        wait_for /tmp/hold ready
        j_status=1 j socket handover --kernel "$image" --config "$config" --command-line "$line"
        kill $held
        wait $held || true
        # The same where alone it is mounted, in a mount namespace of its own.
        t 0 umount 1
        mkdir -p /tmp/elsewhere
        unshare -m sh -c 'mount -t guestmemfs -o node=1 none /tmp/elsewhere &&
            exec 5< /tmp/elsewhere/vm && echo ready && exec sleep 1000' > /tmp/hold &
        held=$!
        wait_for /tmp/hold ready
        j_status=1 j elsewhere handover --kernel "$image" --config "$config" --command-line "$line"
        kill $held
        wait $held || true
        t 0 mount 1
        # Three at once: here, in another mount namespace, and in one with its own processes.
        cp "$(command -v sleep)" /tmp/mounts
        cp /tmp/mounts /tmp/pids
        hold $at/node1/vm
        there='mount -t guestmemfs -o node=1 none /tmp/elsewhere && exec 5< /tmp/elsewhere/vm && exec'
        unshare -m sh -c "$there /tmp/mounts 1000" &
        mounts=$!
        unshare -m -p -f --mount-proc sh -c "$there /tmp/pids 1000" &
        unshared=$!
        wait_for /proc/$mounts/comm '^mounts$'
        for _ in $(seq 300); do
            pids=$(pgrep -P $unshared -x pids) && break
            sleep 0.1
        done
        t 1 handover --exec "$image" --config "$config" --command-line "$line" --initrd "$initrd"
        for one in "python3\[$held\]" "mounts\[$mounts\]" "pids\[$pids\]"; do
            has "$out" "^users +fail .*save and stop them first: .*$one" 'a user of a file'
        done
        equal "$(cat /sys/kernel/kexec_loaded)" 0 'a kernel is loaded though it is not ready'
        kill -9 $held $mounts $pids
        wait $held $mounts $unshared || true
        as=$nobody
        j_status=1 j nobody handover --kernel "$image" --config "$config" --command-line "$line"
        as=
        t 0 handover --exec "$image" --config "$config" --command-line "$line" --initrd "$initrd" \
            --dry-run
        has "$out" '^would run: kexec -s -l' 'what would be run'
        equal "$(cat /sys/kernel/kexec_loaded)" 0 'a kernel is loaded by --dry-run'
        t 2 handover --force --exec /none
        gmfs-numa handover --exec "$image" --config "$config" --command-line "$line" \
            --initrd "$initrd"
        die 'the next kernel was not executed'
    fi
    j after status
    t 0 get -rn 1 reserve
    equal "$out" '1 reserve 4' 'a setting'
    t 0 mount
    memfile check $at/node1/vm 7
    t 0 tag $at/node1/vm
    has "$out" '^owner=8d2e-uuid$' 'owner'
    t 0 check
    t 0 verify $at/node1/vm
    # As a timer runs it, before the machines are started again; who has read the list can say more.
    for older in 1h 1s ''; do
        t 0 reap --no-owner ${older:+--older-than $older} --yes
        [ "$older" = 1h ] || has "$err" '^gmfs-numa: 2 files of an earlier boot stay: ' 'what stays'
        equal "$(ls $at/node1 | tr '\n' ' ')" 'failed untagged vm ' "files after reap $older"
    done
    memfile check $at/node1/untagged 8
    memfile check $at/node1/failed 9
    t 0 reap --no-owner --yes --earlier-boots
    equal "$(ls $at/node1)" vm 'what is left'
    t 0 reap --no-owner
    equal "$out" '' 'files to be removed'
    """, boots=2, **TWO)
    before = {r["check"]: r["result"] for r in found["before"]["handover"]}
    assert before.pop("kernel") == "fail" and set(before.values()) <= {"ok", "warn"}, before
    good = {r["check"]: r["result"] for r in found["good"]["handover"]}
    assert good["kernel"] == good["format"] == good["command-line"] == "ok"
    held = {r["check"]: r for r in found["held"]["handover"]}
    assert held["users"]["result"] == "fail" and "python3[" in held["users"]["detail"]
    socket, = [r for r in found["socket"]["handover"] if r["check"] == "users"]
    assert socket["result"] == "unknown" and socket["detail"].startswith("1 in use have no name")
    users = {name: r["result"] for name in ("elsewhere", "nobody") for r in found[name]["handover"]
             if r["check"] == "users"}
    assert users == {"elsewhere": "fail", "nobody": "unknown"}
    after = found["after"]["nodes"]
    assert [n["generation"] for n in after] == [1, 1] and all(n["from"] for n in after)
    assert [n["used"] for n in after] == [0, 38 << 20]


LOOK = r"""
j status status
j map map
j check check
j get get
j plan plan --reserve 128M
t 0 metrics
cp /tmp/out "$VM_SCRATCH/metrics"
t 0 mount
j ls ls
j_status=1 j handover handover
t 0 freeze
t 0 thaw
"""
MACHINES = {
    1: (dict(nodes=1, mem="1G", cpus=1, append="guestmemfs=0:256M"), r"""
    t 0 run --size 2M -- sh -c 'gmfs-numa verify $$'
    """),
    # The second without memory, the last without CPUs.
    4: (dict(topology="node=0,cpus=0,mem=2G;node=1,cpus=1;node=2,cpus=2-3,mem=1G;node=3,mem=1G;"
                      "dist=0,3,40;dist=1,3,35;dist=2,3,15",
             append="guestmemfs=0:256M,2:256M,3:256M"), r"""
    t 69 status 1
    t 0 run --node 3 --size 4M -- sh -c 'grep Cpus_allowed_list /proc/self/status; numactl --show; readlink {}'
    has "$err" 'node 3 has no CPUs: those of node 2 are the nearest' 'a message'
    has "$out" '^Cpus_allowed_list:.2-3$' 'the nearest CPUs'
    has "$out" '^membind: 3 $' 'memory of the node'
    has "$out" "^$at/node3/" 'file of the node'
    # Near CPUs of a node without memory.
    t 0 run --near 1 --size 4M -- readlink {}
    has "$out" "^$at/node[02]/" 'near a node without memory'
    """),
    16: (dict(topology="node=0,cpus=0-1,mem=2G;" + ";".join(
        f"node={n},cpus={n + 1},mem=1G" if n < 4 else f"node={n},mem=1G" for n in range(1, 16)),
        append="guestmemfs=" + ",".join(f"{n}:128M" for n in range(16))), r"""
    t 0 status -rn -o node 3-5,node12
    equal "$(echo $out)" '3 4 5 12' 'a list of nodes'
    t 0 run --node 12 --size 4M -- readlink {}
    equal "$out" "$(echo "$out" | grep "^$at/node12/")" 'a file'
    """),
}


@pytest.mark.parametrize("nr", MACHINES)
def test_topology(run, tmp_path, nr):
    """Machines of one node to sixteen, some without CPUs or memory."""
    machine, script = MACHINES[nr]
    _, found = run(LOOK + script, **machine)
    pools = [int(part.partition(":")[0])
             for part in machine["append"].partition("=")[2].split(",")]
    for name, key in (("status", "nodes"), ("map", "maps"), ("check", "checks")):
        assert [row["node"] for row in found[name][key]] == pools
    for one, row in zip(found["map"]["maps"], found["status"]["nodes"]):
        assert sum(r["count"] for r in one["runs"]) * one["block_size"] == row["size"]
    assert {r["node"] for r in found["get"]["values"]} == set(pools)
    assert all(c["good"] for c in found["check"]["checks"])
    without = [n["node"] for n in found["status"]["nodes"] if not n["cpus"]]
    assert without == {1: [], 4: [3], 16: list(range(4, 16))}[nr]
    families = parse_metrics((tmp_path / "scratch" / "metrics").read_text())
    size = families["guestmemfs_pool_size_bytes"][1]
    assert [dict(labels)["node"] for _, labels in size] == [str(n) for n in pools]
    if nr == 4:
        assert [n["near"] for n in found["status"]["nodes"]] == ["1,2(20)", "3(15)", "2(15)"]
        assert [p["node"] for p in found["plan"]["plan"]] == pools
