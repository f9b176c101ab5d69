// SPDX-License-Identifier: GPL-2.0
/*
 * crc32c by the processor: most of what an input costs. What is read was checked by
 * the caller, byte for byte, so that this can be compiled without sanitizers.
 */

#include <nmmintrin.h>

#include <sanitizer/asan_interface.h>

u32 crc32c(u32 crc, const void *p, size_t len)
{
	const u8 *at = p;
	u64 word, wide;

	assert(!__asan_region_is_poisoned((void *)p, len));
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
