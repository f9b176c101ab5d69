/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _GMPOOL_FORMAT_H
#define _GMPOOL_FORMAT_H

#include <linux/types.h>

#include <linux/kho/abi/guestmem_pool.h>

u32 gmpool_super_csum(const struct gmpool_super_ser *super);
void gmpool_super_update(struct gmpool_super_ser *super);
const char *gmpool_super_check(const struct gmpool_super_ser *super,
			       u64 granularity);
const struct gmpool_super_ser *gmpool_super_pick(const void *blob,
						 u64 granularity,
						 const char **first_error);
const char *gmpool_super_usable(const struct gmpool_super_ser *super,
				bool *read_only);
bool gmpool_super_newer(const struct gmpool_super_ser *super);
u32 gmpool_table_csum(const struct gmpool_table_ser *table);
const char *gmpool_table_check(const struct gmpool_table_ser *table,
			       const struct gmpool_super_ser *super, u32 index,
			       u32 *nr_meta);
const char *gmpool_bitmaps_check(struct gmpool_bitmap_ser **used,
				 struct gmpool_bitmap_ser **dirty,
				 u64 nr_blocks);
const char *gmpool_poison_check(const struct gmpool_poison_ser *list,
				const struct gmpool_super_ser *super,
				u64 nr_blocks);
const char *gmpool_tunables_check(const struct gmpool_tunables_ser *tunables,
				  u64 nr_blocks, bool newer);

#endif /* _GMPOOL_FORMAT_H */
