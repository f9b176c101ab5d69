/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A kernel with guestmemfs, but without a VFS: its pools and file systems from boot
 * to kexec, and what system calls do to them.
 */
#ifndef _FUZZ_FS_H
#define _FUZZ_FS_H

#include "../../fs/guestmemfs/image.h"
#include "../../fs/guestmemfs/numa/pool.h"

#define FS_MAX		2

/* Abort with a message if a condition does not hold: libFuzzer reports it as a finding. */
#define CHECK(cond, ...)						\
	do {								\
		if (!(cond)) {						\
			fprintf(stderr, "%s:%d: %s: ", __FILE__,	\
				__LINE__, #cond);			\
			fprintf(stderr, __VA_ARGS__);			\
			fprintf(stderr, "\n");				\
			abort();					\
		}							\
	} while (0)

/**
 * struct fs - the file system of a pool
 * @pool: the pool
 * @img: its records
 * @client: callbacks of the pool
 * @attached: @img is that of the pool
 * @handed_over: it was made by a previous kernel
 * @digest: fs_digest() of the handed-over state, before any change
 */
struct fs {
	struct gmpool *pool;
	struct gmfs_image img;
	struct gmpool_client client;
	bool attached;
	bool handed_over;
	u32 digest;
};

/* Initcalls of the pools. */
extern int (*const fuzz_init_gmpool_init)(void);
extern int (*const fuzz_init_gmpool_poison_init)(void);

/* All file systems, in the order of the pools. */
extern struct fs fs_all[FS_MAX];
extern unsigned int fs_nr;

/* From boot to kexec. */
void fs_boot(bool await);
void fs_cold_boot(int nid, u64 base, const u32 *sections, u32 nr_sections, bool resized);
void fs_shutdown(void);

/* Checks of all state; they abort if one fails. */
void fs_verify(struct fs *fs);
u32 fs_digest(struct gmfs_image *img);

/* System calls. They return 0 or a negative errno. */
struct gmfs_inode *fs_root(struct fs *fs);
int fs_make(struct fs *fs, struct gmfs_inode *dir, const char *name,
	    unsigned int len, umode_t mode, struct gmfs_inode **made);
int fs_link(struct fs *fs, struct gmfs_inode *dir, struct gmfs_inode *ci,
	    const char *name, unsigned int len);
int fs_remove(struct fs *fs, struct gmfs_inode *dir, struct gmfs_dirent *de,
	      bool open);
int fs_rename(struct fs *fs, struct gmfs_inode *old_dir, struct gmfs_dirent *old,
	      struct gmfs_inode *new_dir, const char *name, unsigned int len,
	      bool replace, bool whiteout);
int fs_exchange(struct fs *fs, struct gmfs_inode *dir1, struct gmfs_dirent *de1,
		struct gmfs_inode *dir2, struct gmfs_dirent *de2);
int fs_fill(struct fs *fs, struct gmfs_inode *ci, u64 first, u64 end, u64 size);
int fs_punch(struct fs *fs, struct gmfs_inode *ci, u64 first, u64 end);
int fs_exchange_range(struct fs *fs, struct gmfs_inode *ci1, u64 first1,
		      struct gmfs_inode *ci2, u64 first2, u64 count);
int fs_setxattr(struct fs *fs, struct gmfs_inode *ci, const char *name,
		const void *value, size_t size);
void fs_removexattr(struct fs *fs, struct gmfs_inode *ci, struct gmfs_attr *attr);
void fs_preserve(struct fs *fs, struct gmfs_inode *ci);
void fs_retrieve(struct fs *fs, struct gmfs_inode *ci);
int fs_tune(struct fs *fs, u64 scrub_target, u64 reserve, u32 policy);
void fs_scrub(struct fs *fs, u64 count);
int fs_discard(struct fs *fs);

/* Do the system calls that bytes of the input choose, or a part of them. */
void fs_operate(struct fs *fs, const u8 *ops, size_t size);

#endif /* _FUZZ_FS_H */
