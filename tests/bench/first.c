// SPDX-License-Identifier: GPL-2.0
/*
 * The first program of a kernel (rdinit=), before that of the test machine: writes the time
 * since power-on, which kexec does not reset, to a file that init copies to the root.
 */
#include <stdio.h>
#include <unistd.h>
#include <x86intrin.h>

int main(int argc, char **argv)
{
	unsigned long long tsc = __rdtsc();
	FILE *f = fopen("/vm/first-instruction", "w");

	(void)argc;
	if (f) {
		fprintf(f, "%llu\n", tsc);
		fclose(f);
	}
	argv[0] = "/init";
	execv(argv[0], argv);
	return 1;
}
