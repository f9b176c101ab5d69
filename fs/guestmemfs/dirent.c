// SPDX-License-Identifier: GPL-2.0
/*
 * Directory entries of an image.
 *
 * A directory has two trees over its entries. One is by name: a lookup in a
 * directory of a million entries needs about twenty comparisons. The other is by
 * cookie. Cookies come from one counter and are never used again. So readdir(),
 * which continues after the last cookie it returned, returns every entry that exists
 * throughout exactly once, even if others are added or removed.
 */

#include <linux/err.h>
#include <linux/jhash.h>
#include <linux/math.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "image.h"

static u32 gmfs_name_hash(const char *name, unsigned int len)
{
	return jhash(name, len, 0);
}

static int gmfs_name_cmp(const struct gmfs_dirent *de, u32 hash,
			 const char *name, unsigned int len)
{
	if (hash != de->hash)
		return hash < de->hash ? -1 : 1;
	if (len != de->rec->name_len)
		return len < de->rec->name_len ? -1 : 1;
	return memcmp(name, de->rec->name, len);
}

static unsigned int gmfs_record_type(const struct gmfs_inode *ci)
{
	return (READ_ONCE(ci->rec->mode) & S_IFMT) >> 12;
}

/* Insert @de into the trees of @dir. Returns 0, -EEXIST or -EUCLEAN. */
static int gmfs_dirent_link(struct gmfs_inode *dir, struct gmfs_dirent *de)
{
	struct rb_node **name_at = &dir->dir.names.rb_node;
	struct rb_node **cookie_at = &dir->dir.cookies.rb_node;
	struct rb_node *name_up = NULL, *cookie_up = NULL;
	struct gmfs_dirent *other;
	int cmp;

	while (*name_at) {
		name_up = *name_at;
		other = rb_entry(name_up, struct gmfs_dirent, by_name);
		cmp = gmfs_name_cmp(other, de->hash, de->rec->name,
				    de->rec->name_len);
		if (!cmp)
			return -EEXIST;
		name_at = cmp < 0 ? &name_up->rb_left : &name_up->rb_right;
	}
	while (*cookie_at) {
		cookie_up = *cookie_at;
		other = rb_entry(cookie_up, struct gmfs_dirent, by_cookie);
		if (de->rec->cookie == other->rec->cookie)
			return -EUCLEAN;
		cookie_at = de->rec->cookie < other->rec->cookie ?
			    &cookie_up->rb_left : &cookie_up->rb_right;
	}

	rb_link_node(&de->by_name, name_up, name_at);
	rb_insert_color(&de->by_name, &dir->dir.names);
	rb_link_node(&de->by_cookie, cookie_up, cookie_at);
	rb_insert_color(&de->by_cookie, &dir->dir.cookies);
	dir->dir.nr++;
	return 0;
}

/* Remove @de from @dir and free it. Does not change link counts. */
static void gmfs_dirent_free(struct gmfs_image *img, struct gmfs_inode *dir,
			     struct gmfs_dirent *de)
{
	rb_erase(&de->by_name, &dir->dir.names);
	rb_erase(&de->by_cookie, &dir->dir.cookies);
	dir->dir.nr--;
	gmfs_slot_free(img, &img->dirents, de->rec, de->rec->nr_slots);
	kfree(de);
}

/* Make an entry with its record. It is in no tree yet. */
static struct gmfs_dirent *gmfs_dirent_new(struct gmfs_image *img,
					   const struct gmfs_inode *dir,
					   const struct gmfs_inode *child,
					   const char *name, unsigned int len)
{
	unsigned int nr = gmfs_dirent_slots(len);
	struct gmfs_dirent_ser *rec;
	struct gmfs_dirent *de;

	de = kmalloc_obj(*de, GFP_KERNEL_ACCOUNT);
	if (!de)
		return ERR_PTR(-ENOMEM);

	rec = gmfs_slot_alloc(img, &img->dirents, nr);
	if (IS_ERR(rec)) {
		kfree(de);
		return ERR_CAST(rec);
	}

	rec->parent = dir->ino;
	rec->ino = child->ino;
	rec->cookie = gmfs_cookie_take(img);
	rec->name_len = len;
	rec->type = gmfs_record_type(child);
	rec->nr_slots = nr;
	memcpy(rec->name, name, len);
	gmfs_dirty(img, rec);

	de->rec = rec;
	de->hash = gmfs_name_hash(name, len);
	return de;
}

static void gmfs_link_inc(struct gmfs_image *img, struct gmfs_inode *ci)
{
	ci->rec->nlink++;
	gmfs_dirty(img, ci->rec);
}

static void gmfs_link_dec(struct gmfs_image *img, struct gmfs_inode *ci)
{
	ci->rec->nlink--;
	gmfs_dirty(img, ci->rec);
}

/* Make an entry name another inode. Does not change link counts. */
static void gmfs_dirent_point(struct gmfs_image *img, struct gmfs_dirent *de,
			      const struct gmfs_inode *child)
{
	de->rec->ino = child->ino;
	de->rec->type = gmfs_record_type(child);
	gmfs_dirty(img, de->rec);
}

/**
 * gmfs_dirent_slots - get the size of an entry
 * @len: length of its name in bytes
 *
 * Return: number of slots of GMFS_DIRENT_SLOT bytes.
 */
unsigned int gmfs_dirent_slots(unsigned int len)
{
	return DIV_ROUND_UP(sizeof(struct gmfs_dirent_ser) + len,
			    GMFS_DIRENT_SLOT);
}

/**
 * gmfs_dirent_find - find an entry by name
 * @dir: directory
 * @name: name, not terminated
 * @len: its length in bytes
 *
 * Context: any; the caller keeps the entries of @dir from changing.
 *
 * Return: the entry, or NULL.
 */
struct gmfs_dirent *gmfs_dirent_find(const struct gmfs_inode *dir,
				     const char *name, unsigned int len)
{
	struct rb_node *node = dir->dir.names.rb_node;
	u32 hash = gmfs_name_hash(name, len);

	while (node) {
		struct gmfs_dirent *de = rb_entry(node, struct gmfs_dirent,
						  by_name);
		int cmp = gmfs_name_cmp(de, hash, name, len);

		if (!cmp)
			return de;
		node = cmp < 0 ? node->rb_left : node->rb_right;
	}
	return NULL;
}

/**
 * gmfs_dirent_next - get the entry at or after a cookie
 * @dir: directory
 * @cookie: the cookie
 *
 * Context: any; the caller keeps the entries of @dir from changing.
 *
 * Return: the entry with the lowest cookie that is at least @cookie, or NULL.
 */
struct gmfs_dirent *gmfs_dirent_next(const struct gmfs_inode *dir, u64 cookie)
{
	struct rb_node *node = dir->dir.cookies.rb_node;
	struct gmfs_dirent *found = NULL;

	while (node) {
		struct gmfs_dirent *de = rb_entry(node, struct gmfs_dirent,
						  by_cookie);

		if (de->rec->cookie < cookie) {
			node = node->rb_right;
		} else {
			found = de;
			node = node->rb_left;
		}
	}
	return found;
}

/**
 * gmfs_dirent_after - get the entry after another
 * @de: an entry of a directory
 *
 * Context: any; the caller keeps the entries of the directory from changing.
 *
 * Return: the entry with the next higher cookie, or NULL.
 */
struct gmfs_dirent *gmfs_dirent_after(const struct gmfs_dirent *de)
{
	return rb_entry_safe(rb_next(&de->by_cookie), struct gmfs_dirent,
			     by_cookie);
}

/**
 * gmfs_dirent_insert - add a name of an inode
 * @img: the image
 * @dir: directory
 * @child: inode; a directory must not have a name yet
 * @name: name, not terminated
 * @len: its length in bytes, 1 to GMFS_NAME_MAX
 *
 * Increments the link count of @child, and of @dir if @child is a directory.
 *
 * Context: process context, may sleep, within an operation; takes @img->lock.
 * The caller has exclusive access to the entries of @dir and to both link counts.
 *
 * Return: 0; -EEXIST if the name exists; -EMLINK if a link count is at its maximum,
 * or @child is a directory with a name; -ENOSPC if the metadata cannot grow; -ENOMEM.
 */
int gmfs_dirent_insert(struct gmfs_image *img, struct gmfs_inode *dir,
		       struct gmfs_inode *child, const char *name,
		       unsigned int len)
{
	bool is_dir = gmfs_is_dir(child);
	struct gmfs_dirent *de;

	if (is_dir ? child->rec->nlink || dir->rec->nlink == U32_MAX :
		     child->rec->nlink == U32_MAX)
		return -EMLINK;
	if (gmfs_dirent_find(dir, name, len))
		return -EEXIST;
	if (gmfs_cookie_next(img) >= GMFS_COOKIE_FULL)
		return -ENOSPC;

	de = gmfs_dirent_new(img, dir, child, name, len);
	if (IS_ERR(de))
		return PTR_ERR(de);
	gmfs_dirent_link(dir, de);

	gmfs_link_inc(img, child);
	if (is_dir) {
		/* For its "." and, in the parent, for its "..". */
		gmfs_link_inc(img, child);
		gmfs_link_inc(img, dir);
		child->dir.parent = dir;
	}
	return 0;
}

/* Returns 0 if a name of @child may be removed, else an errno. */
static int gmfs_may_remove(const struct gmfs_inode *child)
{
	if (child && gmfs_is_dir(child) && child->dir.nr)
		return -ENOTEMPTY;
	return 0;
}

static void gmfs_dirent_do_remove(struct gmfs_image *img, struct gmfs_inode *dir,
				  struct gmfs_dirent *de,
				  struct gmfs_inode *child)
{
	gmfs_dirent_free(img, dir, de);
	gmfs_link_dec(img, child);
	if (gmfs_is_dir(child)) {
		gmfs_link_dec(img, child);
		gmfs_link_dec(img, dir);
		child->dir.parent = NULL;
	}
}

/**
 * gmfs_dirent_remove - remove a name of an inode
 * @img: the image
 * @dir: directory
 * @de: its entry; freed by this function
 *
 * Does not free the inode when this was its last name: it may be open.
 *
 * Context: process context, may sleep, within an operation; takes @img->lock.
 * The caller has exclusive access to the entries of @dir and to both link counts.
 *
 * Return: 0; -ENOTEMPTY for a directory with entries.
 */
int gmfs_dirent_remove(struct gmfs_image *img, struct gmfs_inode *dir,
		       struct gmfs_dirent *de)
{
	struct gmfs_inode *child = gmfs_inode_find(img, de->rec->ino);
	int err = gmfs_may_remove(child);

	if (err)
		return err;
	gmfs_dirent_do_remove(img, dir, de, child);
	return 0;
}

/**
 * gmfs_dirent_rename - rename an entry, or move it to another directory
 * @img: the image
 * @old_dir: its directory
 * @old: the entry; freed by this function if @leave is NULL
 * @new_dir: its new directory
 * @name: its new name, not terminated
 * @len: length of @name in bytes, 1 to GMFS_NAME_MAX
 * @replace: replace an entry that has the new name
 * @leave: inode without a name, not a directory, which gets the old name; or NULL
 *
 * The renamed entry gets a new cookie. The caller refuses to move a directory below
 * itself.
 *
 * Context: process context, may sleep, within an operation; takes @img->lock.
 * The caller has exclusive access to the entries of both directories and to the
 * link counts of their inodes.
 *
 * Return: 0; -EEXIST if the name exists and @replace is not set; -ENOTEMPTY,
 * -EISDIR or -ENOTDIR if its inode cannot be replaced; -EMLINK if a link count is at
 * its maximum; -ENOSPC if the metadata cannot grow; -ENOMEM.
 */
int gmfs_dirent_rename(struct gmfs_image *img, struct gmfs_inode *old_dir,
		       struct gmfs_dirent *old, struct gmfs_inode *new_dir,
		       const char *name, unsigned int len, bool replace,
		       struct gmfs_inode *leave)
{
	struct gmfs_inode *child = gmfs_inode_find(img, old->rec->ino);
	bool is_dir = gmfs_is_dir(child);
	struct gmfs_inode *victim = NULL;
	struct gmfs_dirent *de, *target;
	int err;

	target = gmfs_dirent_find(new_dir, name, len);
	if (target) {
		if (!replace)
			return -EEXIST;
		victim = gmfs_inode_find(img, target->rec->ino);
		/* Two names of one file: POSIX requires that both stay. */
		if (victim == child)
			return 0;
		if (is_dir && !gmfs_is_dir(victim))
			return -ENOTDIR;
		if (!is_dir && gmfs_is_dir(victim))
			return -EISDIR;
		err = gmfs_may_remove(victim);
		if (err)
			return err;
	}
	if (is_dir && new_dir->rec->nlink == U32_MAX)
		return -EMLINK;
	if (gmfs_cookie_next(img) >= GMFS_COOKIE_FULL)
		return -ENOSPC;

	de = gmfs_dirent_new(img, new_dir, child, name, len);
	if (IS_ERR(de))
		return PTR_ERR(de);

	if (target)
		gmfs_dirent_do_remove(img, new_dir, target, victim);
	if (leave) {
		gmfs_dirent_point(img, old, leave);
		gmfs_link_inc(img, leave);
	} else {
		gmfs_dirent_free(img, old_dir, old);
	}
	gmfs_dirent_link(new_dir, de);
	if (is_dir && old_dir != new_dir) {
		gmfs_link_dec(img, old_dir);
		gmfs_link_inc(img, new_dir);
		child->dir.parent = new_dir;
	}
	return 0;
}

/**
 * gmfs_dirent_exchange - exchange the inodes of two entries
 * @img: the image
 * @dir1: directory
 * @de1: an entry of @dir1
 * @dir2: directory, may be @dir1
 * @de2: an entry of @dir2
 *
 * Each entry keeps its directory, name and cookie. The caller refuses to move a
 * directory below itself.
 *
 * Context: process context, within an operation. The caller has exclusive access to
 * the entries of both directories and to the link counts of their inodes.
 *
 * Return: 0; -EMLINK if a link count is at its maximum.
 */
int gmfs_dirent_exchange(struct gmfs_image *img, struct gmfs_inode *dir1,
			 struct gmfs_dirent *de1, struct gmfs_inode *dir2,
			 struct gmfs_dirent *de2)
{
	struct gmfs_inode *child1 = gmfs_inode_find(img, de1->rec->ino);
	struct gmfs_inode *child2 = gmfs_inode_find(img, de2->rec->ino);
	bool is_dir1 = gmfs_is_dir(child1);
	bool is_dir2 = gmfs_is_dir(child2);
	struct gmfs_inode *loses = is_dir1 ? dir1 : dir2;
	struct gmfs_inode *gains = is_dir1 ? dir2 : dir1;

	if (is_dir1 != is_dir2 && loses != gains) {
		if (gains->rec->nlink == U32_MAX)
			return -EMLINK;
		gmfs_link_dec(img, loses);
		gmfs_link_inc(img, gains);
	}
	gmfs_dirent_point(img, de1, child2);
	gmfs_dirent_point(img, de2, child1);
	if (is_dir1)
		child1->dir.parent = dir2;
	if (is_dir2)
		child2->dir.parent = dir1;
	return 0;
}

static bool gmfs_name_ok(const struct gmfs_dirent_ser *rec)
{
	const char *name = rec->name;
	unsigned int len = rec->name_len;

	if (len <= 2 && name[0] == '.' && (len == 1 || name[1] == '.'))
		return false;
	return !memchr(name, '/', len) && !memchr(name, '\0', len);
}

static int gmfs_dirent_bad(struct gmfs_image *img,
			   const struct gmfs_dirent_ser *rec, const char *what)
{
	return gmfs_image_bad(img, "entry %llu of directory %llu, inode %llu: %s",
			      rec->cookie, rec->parent, rec->ino, what);
}

static int gmfs_dirent_check(struct gmfs_image *img,
			     const struct gmfs_dirent_ser *rec,
			     unsigned int room)
{
	unsigned int pad;

	if (!rec->name_len || rec->name_len > GMFS_NAME_MAX)
		return gmfs_dirent_bad(img, rec, "length of the name");
	if (rec->nr_slots != gmfs_dirent_slots(rec->name_len) ||
	    rec->nr_slots > room)
		return gmfs_dirent_bad(img, rec, "number of slots");
	if (!gmfs_name_ok(rec))
		return gmfs_dirent_bad(img, rec, "not a name");
	if (rec->cookie >= img->super->next_cookie)
		return gmfs_dirent_bad(img, rec, "cookie was not given yet");
	pad = rec->nr_slots * GMFS_DIRENT_SLOT - sizeof(*rec) - rec->name_len;
	if (memchr_inv(rec->name + rec->name_len, 0, pad))
		return gmfs_dirent_bad(img, rec, "more than the name");
	if (rec->reserved && !img->lenient)
		return gmfs_dirent_bad(img, rec, "reserved field");
	return 0;
}

/**
 * gmfs_dirent_load - load a handed-over directory entry
 * @img: image that is being loaded, with all its inodes
 * @slot: the entry's record or a free slot, not trusted
 * @room: number of slots to the end of the metadata block
 * @used: unused
 *
 * Context: process context, may sleep; the caller has exclusive access to @img.
 *
 * Return: number of slots of the record, 0 if it is free; -EUCLEAN if it is
 * damaged, with the reason in @img->why; -ENOMEM.
 */
int gmfs_dirent_load(struct gmfs_image *img, void *slot, unsigned int room,
		     unsigned long *used)
{
	struct gmfs_dirent_ser *rec = slot;
	struct gmfs_inode *dir, *child;
	struct gmfs_dirent *de;
	int err;

	if (!rec->parent)
		return 0;
	err = gmfs_dirent_check(img, rec, room);
	if (err)
		return err;

	dir = gmfs_inode_find(img, rec->parent);
	if (!dir || !gmfs_is_dir(dir))
		return gmfs_dirent_bad(img, rec, "no such directory");
	child = gmfs_inode_find(img, rec->ino);
	if (!child)
		return gmfs_dirent_bad(img, rec, "no such inode");
	if (rec->type != gmfs_record_type(child))
		return gmfs_dirent_bad(img, rec, "type is not the inode's");
	/* The parent of the root is the root itself. */
	if (gmfs_is_dir(child) && child->dir.parent)
		return gmfs_dirent_bad(img, rec,
				       "directory has a place already");

	de = kmalloc_obj(*de);
	if (!de)
		return -ENOMEM;
	de->rec = rec;
	de->hash = gmfs_name_hash(rec->name, rec->name_len);
	err = gmfs_dirent_link(dir, de);
	if (err) {
		kfree(de);
		return gmfs_dirent_bad(img, rec, err == -EEXIST ?
				       "name is there twice" :
				       "cookie is there twice");
	}

	if (gmfs_is_dir(child)) {
		child->dir.parent = dir;
		dir->links++;
	} else {
		child->links++;
	}
	return rec->nr_slots;
}

/**
 * gmfs_dirent_forget - free the indexes of a directory
 * @dir: directory
 *
 * Does not change the records.
 */
void gmfs_dirent_forget(struct gmfs_inode *dir)
{
	struct gmfs_dirent *de, *next;

	rbtree_postorder_for_each_entry_safe(de, next, &dir->dir.names, by_name)
		kfree(de);
	dir->dir.names = RB_ROOT;
	dir->dir.cookies = RB_ROOT;
	dir->dir.nr = 0;
}
