// SPDX-License-Identifier: GPL-2.0
/*
 * A virtual machine of KVM whose memory is a file, and whose host changes the entries of
 * page tables that map the file, see test_entries.py.
 *
 *	entries dropped FILE SECONDS	another thread drops them all the time
 *	entries tracked FILE		all are read-only until the first write
 *
 * The first prints "dropped: runs=N lost=N drops=N", the second "tracked: emulated=N": the
 * instructions that KVM emulates for a byte that the guest writes, more than for one that
 * it reads. Both fail if KVM_RUN does.
 */
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "device.h"
#include "flat.h"

#define PAGE	4096UL

struct memory {
	volatile char *at;
	size_t size;
	volatile bool stop;
	unsigned long drops;
};

static void map_file(struct memory *mem, const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		die("%s", path);
	mem->size = st.st_size;
	mem->at = mmap(NULL, mem->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mem->at == MAP_FAILED)
		die("mmap");
}

static void run_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("CPU %d", cpu);
}

static void *drop(void *arg)
{
	struct memory *mem = arg;

	run_on(0);
	while (!mem->stop) {
		if (madvise((void *)mem->at, mem->size, MADV_DONTNEED))
			die("MADV_DONTNEED");
		mem->drops++;
	}
	return NULL;
}

static int dropped(const char *path, int seconds)
{
	unsigned long runs = 0, lost = 0;
	struct memory mem = {};
	struct machine m = {};
	pthread_t thread;
	time_t end;
	uint8_t value;
	char *at;
	int err = 0;

	map_file(&mem, path);
	run_on(1);
	if (machine_start(&m, mem.at, mem.size) || pthread_create(&thread, NULL, drop, &mem))
		die("machine");
	for (end = time(NULL) + seconds; !err && time(NULL) < end; runs++) {
		at = (char *)mem.at + runs * PAGE % mem.size;
		value = runs % 251 + 1;
		m.byte = value;
		err = machine_run(&m, WRITE, at);
		m.byte = 0;
		if (!err)
			err = machine_run(&m, READ, at);
		lost += m.byte != value;
	}
	mem.stop = true;
	pthread_join(thread, NULL);
	if (err)
		die("KVM_RUN %lu: %d", runs, err);
	printf("dropped: runs=%lu lost=%lu drops=%lu\n", runs, lost, mem.drops);
	return lost || !runs || !mem.drops;
}

/* Instructions that KVM has emulated since boot. */
static long emulated(void)
{
	FILE *f = fopen("/sys/kernel/debug/kvm/insn_emulation", "r");
	long n = -1;

	if (!f || fscanf(f, "%ld", &n) != 1)
		die("insn_emulation");
	fclose(f);
	return n;
}

static void start_tracking(void)
{
	int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "4", 1) != 1)
		die("clear_refs");
	close(fd);
}

/* Instructions emulated for one access; the processor can emulate the end of a run. */
static long access_byte(struct machine *m, unsigned long what, volatile char *at)
{
	long before = emulated();
	int err = machine_run(m, what, at);

	if (err)
		die("KVM_RUN: %d", err);
	return emulated() - before;
}

static int tracked(const char *path)
{
	struct memory mem = {};
	struct machine m = {};
	long reads, writes, more;

	map_file(&mem, path);
	if (machine_start(&m, mem.at, mem.size))
		die("machine");
	mem.at[0] = 1;
	start_tracking();
	if (madvise((void *)mem.at, mem.size, MADV_DONTNEED))
		die("MADV_DONTNEED");
	reads = access_byte(&m, READ, mem.at);
	m.byte = 2;
	/* That has an entry, the last page of the file has none. */
	writes = access_byte(&m, WRITE, mem.at);
	more = access_byte(&m, WRITE, mem.at + mem.size - PAGE);
	if (mem.at[0] != 2 || mem.at[mem.size - PAGE] != 2)
		die("a write is lost");
	printf("tracked: emulated=%ld\n", writes + more - 2 * reads);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "dropped"))
		return dropped(argv[2], atoi(argv[3]));
	if (argc == 3 && !strcmp(argv[1], "tracked"))
		return tracked(argv[2]);
	fputs("usage: entries dropped FILE SECONDS | tracked FILE\n", stderr);
	return 2;
}
