// SPDX-License-Identifier: GPL-2.0
/*
 * The cost of guest_memfd, with folios of its own and with a file of guestmemfs.
 *
 * usage: gmem DIR SIZE RUNS PEER...	as for launch; SIZE is up to 2 GiB
 *
 * The guest's memory is at 1 GiB, where leaves of all sizes can be.
 */
#include "bench.h"
#include "peers.h"
#include "vcpu.h"

#define AT	GIB

struct machine {
	int kvm, vm, cpu;
	void *code;
};

static struct machine make_machine(int type)
{
	struct machine m = { .kvm = check(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm") };

	m.vm = check(ioctl(m.kvm, KVM_CREATE_VM, type), "KVM_CREATE_VM");
	m.code = add_code(m.vm);
	m.cpu = make_cpu(m.vm);
	return m;
}

static void end_machine(const struct machine *m)
{
	close(m->cpu);
	close(m->vm);
	close(m->kvm);
	munmap(m->code, PAGE);
}

static void prepare(const struct peer *peer)
{
	if (peer->source == GUEST_MEMFD_FILE)
		wait_clean();
}

static void pre_fault(const struct machine *m, size_t size)
{
	struct kvm_pre_fault_memory range = { .gpa = AT, .size = size };

	while (range.size)
		check(ioctl(m->cpu, KVM_PRE_FAULT_MEMORY, &range), "KVM_PRE_FAULT_MEMORY");
}

/* All memory is guest_memfd: made, touched by the guest or mapped by KVM, and released. */
static void measure(const struct peer *peer, size_t size, int runs)
{
	struct series bind = { "create and bind", "time" }, touch = { "first touch", "time" };
	struct series fault = { "pre-fault", "time" }, unbind = { "unbind", "time" };
	struct series release = { "release", "time" };
	uint64_t start;
	int i, fd;

	for (i = 0; i < 2 * runs; i++) {
		struct machine m = make_machine(KVM_X86_DEFAULT_VM);

		prepare(peer);
		start = now();
		fd = peer_create(peer, size, m.vm);
		add_memory(m.vm, 1, AT, reserve(size, 0), size, fd);
		add(&bind, now() - start);
		if (i % 2) {
			start = now();
			pre_fault(&m, size);
			add(&fault, now() - start);
		} else {
			add(&touch, run(m.kvm, m.cpu, AT, size));
		}
		start = now();
		add_memory(m.vm, 1, AT, NULL, 0, -1);
		add(&unbind, now() - start);
		start = now();
		peer_drop(peer, fd);
		add(&release, now() - start);
		end_machine(&m);
	}
	print_series(peer->name, size, &bind);
	print_series(peer->name, size, &touch);
	print_series(peer->name, size, &fault);
	print_series(peer->name, size, &unbind);
	print_series(peer->name, size, &release);
}

static void set_private(const struct machine *m, uint64_t at, size_t size, int private)
{
	struct kvm_memory_attributes attr = {
		.address = at, .size = size,
		.attributes = private ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0,
	};

	check(ioctl(m->vm, KVM_SET_MEMORY_ATTRIBUTES, &attr), "KVM_SET_MEMORY_ATTRIBUTES");
}

/* A page of private memory becomes shared, and private again; the guest touches it each time. */
static void convert(const struct peer *peer, size_t size, int runs)
{
	struct series all = { "conversion", "time" };
	struct machine m = make_machine(KVM_X86_SW_PROTECTED_VM);
	char *shared = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint64_t start, at = AT + size / 2;
	int fd;

	if (shared == MAP_FAILED)
		err(2, "mmap");
	prepare(peer);
	fd = peer_create(peer, size, m.vm);
	add_memory(m.vm, 1, AT, shared, size, fd);
	set_private(&m, AT, size, 1);
	run(m.kvm, m.cpu, AT, size);
	shared[size / 2] = 1;
	while (runs--) {
		start = now();
		set_private(&m, at, PAGE, 0);
		run(m.kvm, m.cpu, at, PAGE);
		set_private(&m, at, PAGE, 1);
		run(m.kvm, m.cpu, at, PAGE);
		add(&all, now() - start);
	}
	print_series(peer->name, size, &all);
	end_machine(&m);
	peer_drop(peer, fd);
	munmap(shared, size);
}

int main(int argc, char **argv)
{
	size_t size;
	int i;

	if (argc < 5)
		errx(2, "usage: gmem DIR SIZE RUNS PEER...");
	if (strcmp(argv[1], "-") && chdir(argv[1]))
		err(2, "%s", argv[1]);
	size = parse_size(argv[2]);
	for (i = 4; i < argc; i++) {
		measure(peer_find(argv[i]), size, atoi(argv[3]));
		convert(peer_find(argv[i]), size, atoi(argv[3]));
	}
	return 0;
}
