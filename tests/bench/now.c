// SPDX-License-Identifier: GPL-2.0
/* Prints the time since power-on, which kexec does not reset. */
#include <stdio.h>
#include <x86intrin.h>

int main(void)
{
	printf("%llu\n", __rdtsc());
	return 0;
}
