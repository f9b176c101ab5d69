// SPDX-License-Identifier: GPL-2.0
/*
 * crc32c by the processor, without sanitizers: much of what an input costs. The caller
 * has checked what is read.
 */

#include <nmmintrin.h>

u32 fuzz_crc32c(u32 crc, const void *p, size_t len)
{
	const u8 *at = p;
	u64 word, wide;

	for (; len && (uintptr_t)at % sizeof(word); len--)
		crc = _mm_crc32_u8(crc, *at++);
	for (wide = crc; len >= sizeof(word); len -= sizeof(word), at += sizeof(word)) {
		memcpy(&word, at, sizeof(word));
		wide = _mm_crc32_u64(wide, word);
	}
	for (crc = wide; len; len--)
		crc = _mm_crc32_u8(crc, *at++);
	return crc;
}
