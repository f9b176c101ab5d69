/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _GMFS_MOVE_H
#define _GMFS_MOVE_H

#include <linux/guestmem_pool.h>
#include <linux/types.h>

struct gmfs_fs;
struct gmfs_survey;
struct inode;
struct super_block;
struct vfsmount;

/**
 * enum gmfs_obstacle - why a used block does not move
 * @GMFS_OBSTACLE_MAPPED: processes map its file
 * @GMFS_OBSTACLE_ATTACHED: a client has attached its file (client.c)
 * @GMFS_OBSTACLE_USERFAULT: a userfaultfd serves minor faults of its file (userfault.c)
 * @GMFS_OBSTACLE_PINNED: it is pinned for a device (pin.c)
 * @GMFS_OBSTACLE_PRESERVED: LUO has preserved its file, or it waits to be retrieved (luo.c)
 * @GMFS_OBSTACLE_FAILED: a page of it has failed
 * @GMFS_OBSTACLE_WHOLE: it is a part of a whole, aligned 1 GiB of its file
 * @GMFS_OBSTACLE_BUSY: a task has allocated or claimed it since
 * @GMFS_OBSTACLES: number of reasons
 */
enum gmfs_obstacle {
	GMFS_OBSTACLE_MAPPED,
	GMFS_OBSTACLE_ATTACHED,
	GMFS_OBSTACLE_USERFAULT,
	GMFS_OBSTACLE_PINNED,
	GMFS_OBSTACLE_PRESERVED,
	GMFS_OBSTACLE_FAILED,
	GMFS_OBSTACLE_WHOLE,
	GMFS_OBSTACLE_BUSY,
	GMFS_OBSTACLES,
};

/**
 * struct gmfs_obstacles - what is in the way
 * @blocks: number of blocks, by reason
 * @inos: inode number of the first file of each reason; 0 if it is no file
 */
struct gmfs_obstacles {
	u64 blocks[GMFS_OBSTACLES];
	u64 inos[GMFS_OBSTACLES];
};

/**
 * struct gmfs_mover - moving of blocks in a node
 * @fs: file system of the node
 * @mnt: mount that keeps @sb
 * @sb: its super block
 * @plan: the compaction, or NULL
 * @survey: where the files are, or NULL
 * @in_use: files that are mapped or attached move too
 * @whole: whole, aligned 1 GiB of files move too
 * @moved: number of blocks that have moved
 * @obstacles: blocks that were to move and did not
 */
struct gmfs_mover {
	struct gmfs_fs *fs;
	struct vfsmount *mnt;
	struct super_block *sb;
	const struct gmpool_compact *plan;
	const struct gmfs_survey *survey;
	bool in_use;
	bool whole;
	u64 moved;
	struct gmfs_obstacles obstacles;
};

typedef int (*gmfs_each_t)(struct gmfs_mover *m, struct inode *inode, void *arg);

extern const char * const gmfs_obstacle_names[];

bool gmfs_move_is_frozen(const struct gmfs_mover *m);
int gmfs_move_start(struct gmfs_mover *m, struct gmfs_fs *fs);
void gmfs_move_end(struct gmfs_mover *m);
int gmfs_move_each(struct gmfs_mover *m, gmfs_each_t each, void *arg);
enum gmfs_obstacle gmfs_move_obstacle(const struct gmfs_mover *m, struct inode *inode,
				      u64 file_block);
void gmfs_move_note(struct gmfs_mover *m, enum gmfs_obstacle what, u64 ino, u64 blocks);
int gmfs_move_out(struct gmfs_mover *m, const struct gmpool_range *area,
		  unsigned long *mine);

/* In shrink.c: callbacks of the pool */
void *gmfs_shrink_begin(struct gmpool_client *client, bool in_use,
			unsigned long *movable);
int gmfs_shrink_move_out(void *mover, const struct gmpool_range *range,
			 unsigned long *mine);
void gmfs_shrink_explain(void *mover, const struct gmpool_range *range, char *buf,
			 size_t size);
void gmfs_shrink_end(void *mover);

#endif /* _GMFS_MOVE_H */
