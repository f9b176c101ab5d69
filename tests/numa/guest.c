// SPDX-License-Identifier: GPL-2.0
/*
 * All that runs in a guest of the live-update tests and of the demonstration: its
 * first and only program. Again and again it checks all of the memory that it has
 * filled, changes it, sends a number over a connection to a process of its own and
 * gets it back, and four times a second it says so on its console.
 *
 * It never sleeps: an emulated processor with virtualization loses a guest's timer
 * now and then while the guest is idle.
 *
 * With "again" in the environment, which the kernel's command line gives it, it takes
 * other memory in each round: what was plugged in the meantime.
 *
 * What is found wrong is said as "guest: FAILED: ...", and then it ends.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SIZE	(24UL << 20)
#define WORDS	(SIZE / sizeof(uint64_t))
#define PORT	4242

static void failed(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fputs("guest: FAILED: ", stdout);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
	sleep(1000);
	exit(1);
}

static uint64_t value(uint64_t round, uint64_t i)
{
	uint64_t x = (round << 40) + i + 1;

	x *= 0x9e3779b97f4a7c15ULL;
	return x ^ x >> 29;
}

static void check(const uint64_t *mem, uint64_t round)
{
	uint64_t i;

	for (i = 0; i < WORDS; i++)
		if (mem[i] != value(round, i))
			failed("round %ju: word %ju is %#jx, should be %#jx", (uintmax_t)round,
			       (uintmax_t)i, (uintmax_t)mem[i], (uintmax_t)value(round, i));
}

static void fill(uint64_t *mem, uint64_t round)
{
	uint64_t i;

	for (i = 0; i < WORDS; i++)
		mem[i] = value(round, i);
}

static uint64_t *allocate(void)
{
	uint64_t *mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (mem == MAP_FAILED)
		failed("memory: %s", strerror(errno));
	return mem;
}

static void loopback_up(void)
{
	struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &ifr))
		failed("lo: %s", strerror(errno));
	close(fd);
}

static void serve(int listener)
{
	uint64_t number;
	int fd = accept(listener, NULL, NULL);

	while (read(fd, &number, sizeof(number)) == sizeof(number)) {
		number++;
		if (write(fd, &number, sizeof(number)) != sizeof(number))
			break;
	}
	exit(0);
}

/* A connection to another process, for as long as both live. */
static int connection(void)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET,
		.sin_port = htons(PORT),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int listener = socket(AF_INET, SOCK_STREAM, 0), fd;

	if (bind(listener, (struct sockaddr *)&addr, sizeof(addr)) || listen(listener, 1))
		failed("port: %s", strerror(errno));
	if (!fork())
		serve(listener);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
		failed("connect: %s", strerror(errno));
	return fd;
}

int main(void)
{
	struct timespec uptime;
	uint64_t round, number;
	intmax_t said = 0, now;
	uint64_t *mem;
	char id[64] = "";
	FILE *f;
	int fd;

	mount("none", "/proc", "proc", 0, NULL);
	loopback_up();
	fd = connection();
	mem = allocate();
	f = fopen("/proc/sys/kernel/random/boot_id", "r");
	if (!f || !fgets(id, 9, f))
		failed("boot id");

	fill(mem, 0);
	for (round = 0;; round++) {
		check(mem, round);
		if (getenv("again")) {
			munmap(mem, SIZE);
			mem = allocate();
		}
		fill(mem, round + 1);
		number = round;
		if (write(fd, &number, sizeof(number)) != sizeof(number) ||
		    read(fd, &number, sizeof(number)) != sizeof(number) || number != round + 1)
			failed("round %ju: the connection is lost", (uintmax_t)round);
		clock_gettime(CLOCK_BOOTTIME, &uptime);
		now = uptime.tv_sec * 4LL + uptime.tv_nsec / 250000000;
		if (now == said)
			continue;
		said = now;
		printf("guest: tick %ju, up %jd s, boot %s: memory and connection are good\n",
		       (uintmax_t)round, (intmax_t)uptime.tv_sec, id);
		fflush(stdout);
	}
}
