/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _GMPOOL_FORMAT_H
#define _GMPOOL_FORMAT_H

#include <linux/bits.h>
#include <linux/types.h>

#include <linux/kho/abi/guestmem_pool.h>

/* More block numbers than any pool has. */
#define GMPOOL_MAX_BLOCKS	BIT_ULL(40)

u32 gmpool_super_csum(const struct gmpool_super_ser *super);
void gmpool_super_update(struct gmpool_super_ser *super);
const char *gmpool_super_check(const struct gmpool_super_ser *super,
			       u64 granularity);
const struct gmpool_super_ser *gmpool_super_pick(const void *blob,
						 u64 granularity,
						 const char **first_error);
const char *gmpool_super_usable(const struct gmpool_super_ser *super,
				bool *read_only);
u64 gmpool_super_end(const struct gmpool_super_ser *super);
bool gmpool_super_has(const struct gmpool_super_ser *super, u64 block);
bool gmpool_super_newer(const struct gmpool_super_ser *super);
u32 gmpool_table_csum(const struct gmpool_table_ser *table);
const char *gmpool_table_check(const struct gmpool_table_ser *table,
			       const struct gmpool_super_ser *super, u32 index,
			       u32 *nr_meta);
const char *gmpool_bitmaps_check(struct gmpool_bitmap_ser **used,
				 struct gmpool_bitmap_ser **dirty,
				 u64 nr_blocks);
const char *gmpool_bitmaps_check_numbers(struct gmpool_bitmap_ser **used,
					 struct gmpool_bitmap_ser **dirty,
					 const struct gmpool_super_ser *super);
const char *gmpool_poison_check(const struct gmpool_poison_ser *list,
				const struct gmpool_super_ser *super);
const char *gmpool_tunables_check(const struct gmpool_tunables_ser *tunables,
				  u64 nr_blocks, bool newer);

/**
 * gmpool_super_first - number of the first block of an extent
 * @super: has passed gmpool_super_check()
 * @index: of the extent
 *
 * Return: block number.
 */
static inline u64 gmpool_super_first(const struct gmpool_super_ser *super, u32 index)
{
	u64 first = 0;
	u32 i;

	if (super->feature_incompat & GMPOOL_FEATURE_INCOMPAT_NUMBERS)
		return super->first[index];
	for (i = 0; i < index; i++)
		first += super->extents[i].size >> GMPOOL_BLOCK_SHIFT;
	return first;
}

#endif /* _GMPOOL_FORMAT_H */
