// SPDX-License-Identifier: GPL-2.0
/**
 * DOC: Limits of control groups
 *
 * Each pool is a region of the dmem controller. A block is charged to the cgroup
 * of the task that allocates it, until it is freed. As with other memory, the
 * charge does not follow the task to another cgroup.
 *
 * Charges are counted per file and cgroup, not per block. The latest charge is
 * reverted first. Few files have blocks of more than one cgroup.
 *
 * Charges are not handed over. Blocks that the previous kernel left are charged to
 * the root cgroup. The first task that opens the file for writing, usually QEMU
 * after a live update, moves the charge to its own cgroup.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cgroup_dmem.h>
#include <linux/fs.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "guestmemfs.h"

/**
 * struct gmfs_charge - blocks of a file that are charged to one cgroup
 * @next: the charge before this one
 * @state: the cgroup's state of the region, with a reference
 * @blocks: number of blocks, never 0
 * @inherited: the previous kernel left the blocks; charged to the root cgroup
 */
struct gmfs_charge {
	struct gmfs_charge *next;
	struct dmem_cgroup_pool_state *state;
	u64 blocks;
	bool inherited;
};

static void gmfs_charge_push(struct gmfs_charge **charges,
			     struct gmfs_charge *new)
{
	struct gmfs_charge *c;

	for (c = *charges; c; c = c->next) {
		if (c->state != new->state || c->inherited != new->inherited)
			continue;
		c->blocks += new->blocks;
		dmem_cgroup_pool_state_put(new->state);
		kfree(new);
		return;
	}
	new->next = *charges;
	*charges = new;
}

static struct gmfs_charge *gmfs_charge_pop(struct gmfs_charge **charges)
{
	struct gmfs_charge *c = *charges;

	*charges = c->next;
	return c;
}

/**
 * gmfs_charge - charge blocks to the cgroup of the current task
 * @fs: file system of the pool
 * @charges: list to which the charge is added
 * @blocks: number of blocks
 *
 * Context: process context, may sleep. The caller guards @charges.
 *
 * Return: 0; -EDQUOT if a limit would be exceeded; -ENOMEM. On an error, nothing is
 * charged.
 */
int gmfs_charge(struct gmfs_fs *fs, struct gmfs_charge **charges, u64 blocks)
{
	struct gmfs_charge *c;
	int err;

	if (!fs->region || !blocks)
		return 0;
	c = kzalloc_obj(*c);
	if (!c)
		return -ENOMEM;
	err = dmem_cgroup_try_charge(fs->region, blocks << GMPOOL_BLOCK_SHIFT,
				     &c->state, NULL);
	if (err) {
		kfree(c);
		return err == -EAGAIN ? -EDQUOT : err;
	}
	c->blocks = blocks;
	gmfs_charge_push(charges, c);
	return 0;
}

/**
 * gmfs_uncharge - revert charges
 * @charges: list of charges
 * @blocks: number of blocks; all charges are reverted if they are fewer
 *
 * Context: any that may take spinlocks. The caller guards @charges.
 */
void gmfs_uncharge(struct gmfs_charge **charges, u64 blocks)
{
	struct gmfs_charge *c;
	u64 count;

	while ((c = *charges) && blocks) {
		count = min(blocks, c->blocks);
		blocks -= count;
		c->blocks -= count;
		/* dmem_cgroup_uncharge() drops a reference. */
		if (c->blocks)
			dmem_cgroup_pool_state_get(c->state);
		dmem_cgroup_uncharge(c->state, count << GMPOOL_BLOCK_SHIFT);
		if (!c->blocks)
			kfree(gmfs_charge_pop(charges));
	}
}

/**
 * gmfs_charge_move - move charges from one list to another
 * @from: list from which all charges are removed
 * @to: list to which they are added
 *
 * Context: any that may take spinlocks. The caller guards both.
 */
void gmfs_charge_move(struct gmfs_charge **from, struct gmfs_charge **to)
{
	while (*from)
		gmfs_charge_push(to, gmfs_charge_pop(from));
}

/**
 * gmfs_charge_reserve - allocate what gmfs_charge_exchange() needs
 * @spare: set to the charges
 *
 * Context: process context, may sleep.
 *
 * Return: 0; -ENOMEM.
 */
int gmfs_charge_reserve(struct gmfs_charge **spare)
{
	struct gmfs_charge *c;
	int i;

	/* Each direction splits one charge at most. */
	for (i = 0; i < 2; i++) {
		c = kzalloc_obj(*c);
		if (!c) {
			gmfs_charge_unreserve(spare);
			return -ENOMEM;
		}
		c->next = *spare;
		*spare = c;
	}
	return 0;
}

/**
 * gmfs_charge_unreserve - free what gmfs_charge_reserve() has allocated
 * @spare: what is left of it
 *
 * Context: any.
 */
void gmfs_charge_unreserve(struct gmfs_charge **spare)
{
	while (*spare)
		kfree(gmfs_charge_pop(spare));
}

/* Move charges of @blocks blocks, or of all if there are fewer, the latest first. */
static void gmfs_charge_take(struct gmfs_charge **from, u64 blocks,
			     struct gmfs_charge **to, struct gmfs_charge **spare)
{
	struct gmfs_charge *c, *part;

	while ((c = *from) && blocks) {
		if (c->blocks > blocks) {
			part = gmfs_charge_pop(spare);
			part->state = c->state;
			part->inherited = c->inherited;
			part->blocks = blocks;
			dmem_cgroup_pool_state_get(c->state);
			c->blocks -= blocks;
		} else {
			part = gmfs_charge_pop(from);
		}
		blocks -= part->blocks;
		gmfs_charge_push(to, part);
	}
}

/**
 * gmfs_charge_exchange - exchange charges of two files
 * @charges1: charges of the one
 * @blocks1: number of its blocks that move to the other
 * @charges2: charges of the other
 * @blocks2: number of its blocks that move to the one
 * @spare: from gmfs_charge_reserve()
 *
 * Context: any that may take spinlocks. The caller guards both lists.
 */
void gmfs_charge_exchange(struct gmfs_charge **charges1, u64 blocks1,
			  struct gmfs_charge **charges2, u64 blocks2,
			  struct gmfs_charge **spare)
{
	struct gmfs_charge *to1 = NULL, *to2 = NULL;

	gmfs_charge_take(charges1, blocks1, &to2, spare);
	gmfs_charge_take(charges2, blocks2, &to1, spare);
	gmfs_charge_move(&to1, charges1);
	gmfs_charge_move(&to2, charges2);
}

/**
 * gmfs_charge_open - charge blocks of the previous kernel to the current cgroup
 * @inode: a regular file that is opened for writing
 *
 * If the limit of the cgroup is too low, the open does not fail, because the memory
 * is in use already: the charge stays with the root cgroup, and the kernel logs it.
 *
 * Context: process context, may sleep; takes the invalidate_lock.
 */
void gmfs_charge_open(struct inode *inode)
{
	struct gmfs_charge **charges = &GMFS_I(inode)->ci->file.charges;
	struct gmfs_fs *fs = GMFS_FS(inode->i_sb);
	struct gmfs_charge *mine = NULL, *c;
	int err;

	if (!fs->region)
		return;

	filemap_invalidate_lock(inode->i_mapping);
	while ((c = *charges) && !c->inherited)
		charges = &c->next;
	if (!c)
		goto out_unlock;

	err = gmfs_charge(fs, &mine, c->blocks);
	if (err) {
		pr_notice_ratelimited("node %d: cannot charge %llu MiB of a file to the cgroup of %s[%d] (%pe): they stay with the root cgroup\n",
				      gmpool_nid(fs->pool),
				      c->blocks << (GMPOOL_BLOCK_SHIFT - 20),
				      current->comm, task_pid_nr(current),
				      ERR_PTR(err));
	} else if (mine->state == c->state) {
		gmfs_uncharge(&mine, mine->blocks);
	} else {
		/* All blocks of @c, which is the first in this list. */
		gmfs_uncharge(charges, c->blocks);
		gmfs_charge_move(&mine, &GMFS_I(inode)->ci->file.charges);
	}
out_unlock:
	filemap_invalidate_unlock(inode->i_mapping);
}

/**
 * gmfs_charge_register - make the pool a region of the dmem controller
 * @fs: file system, loaded
 *
 * Charges the blocks of its files to the root cgroup. Without the controller, or if
 * memory is short, the file system works without limits.
 *
 * Context: process context, may sleep; the file system cannot be mounted yet.
 */
void gmfs_charge_register(struct gmfs_fs *fs)
{
	const struct dmem_cgroup_init init = {
		.size = gmpool_total_blocks(fs->pool) << GMPOOL_BLOCK_SHIFT,
	};
	struct dmem_cgroup_region *region;
	struct gmfs_inode *ci;
	unsigned long ino;

	region = dmem_cgroup_register_region(&init, "guestmemfs/node%d",
					     gmpool_nid(fs->pool));
	if (IS_ERR(region)) {
		pr_warn("node %d: cgroups have no limits, as the dmem region is missing (%pe)\n",
			gmpool_nid(fs->pool), region);
		return;
	}
	fs->region = region;

	xa_for_each(&fs->image.inodes, ino, ci) {
		if (!S_ISREG(ci->rec->mode) ||
		    gmfs_charge(fs, &ci->file.charges, ci->file.blocks))
			continue;
		if (ci->file.charges)
			ci->file.charges->inherited = true;
	}
}

/**
 * gmfs_resized - tell the dmem controller the size of a pool
 * @client: client of the pool
 *
 * Limits of cgroups stay as they are.
 *
 * Context: process context; gmpool.resize.lock is held.
 */
void gmfs_resized(struct gmpool_client *client)
{
	struct gmfs_fs *fs = container_of(client, struct gmfs_fs, client);

	if (fs->region)
		dmem_cgroup_region_set_size(fs->region, gmpool_total_blocks(fs->pool) <<
							GMPOOL_BLOCK_SHIFT);
}
