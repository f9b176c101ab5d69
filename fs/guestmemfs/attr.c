// SPDX-License-Identifier: GPL-2.0
/*
 * Attributes of the inodes of an image: extended attributes, and the targets of
 * symbolic links.
 *
 * An attribute is a name and a value, stored as one string of bytes. If it does not
 * fit into a metadata block, it is split into fragments. An inode has few attributes,
 * which are in a tree by name. A value is never changed in place: a new attribute
 * is written, and replaces the old one when it is complete.
 */

#include <linux/err.h>
#include <linux/math.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "image.h"

static unsigned int gmfs_attr_nr_fragments(u32 size)
{
	return DIV_ROUND_UP(size, GMFS_ATTR_FRAGMENT);
}

static unsigned int gmfs_fragment_len(u32 size, u32 offset)
{
	return min(size - offset, GMFS_ATTR_FRAGMENT);
}

static unsigned int gmfs_fragment_slots(unsigned int len)
{
	return DIV_ROUND_UP(sizeof(struct gmfs_attr_ser) + len, GMFS_ATTR_SLOT);
}

static int gmfs_attr_cmp(const struct gmfs_attr *attr, u8 kind,
			 const char *name, unsigned int len)
{
	if (kind != attr->kind)
		return kind < attr->kind ? -1 : 1;
	if (len != attr->name_len)
		return len < attr->name_len ? -1 : 1;
	return memcmp(name, gmfs_attr_name(attr), len);
}

/* Insert @attr into the tree by name. Returns 0 or -EEXIST. */
static int gmfs_attr_link(struct gmfs_inode *ci, struct gmfs_attr *attr)
{
	struct rb_node **at = &ci->attrs.rb_node;
	struct rb_node *up = NULL;
	int cmp;

	while (*at) {
		up = *at;
		cmp = gmfs_attr_cmp(rb_entry(up, struct gmfs_attr, node),
				    attr->kind, gmfs_attr_name(attr),
				    attr->name_len);
		if (!cmp)
			return -EEXIST;
		at = cmp < 0 ? &up->rb_left : &up->rb_right;
	}
	rb_link_node(&attr->node, up, at);
	rb_insert_color(&attr->node, &ci->attrs);
	return 0;
}

/* Free @attr, which is in no tree, and those of its records that exist. */
static void gmfs_attr_free(struct gmfs_image *img, struct gmfs_attr *attr)
{
	unsigned int i;

	for (i = 0; i < attr->nr; i++)
		if (attr->fragments[i])
			gmfs_slot_free(img, &img->attrs, attr->fragments[i],
				       attr->fragments[i]->nr_slots);
	kfree(attr);
}

static struct gmfs_attr *gmfs_attr_alloc(u64 id, u8 kind, u16 name_len,
					 u32 size)
{
	unsigned int nr = gmfs_attr_nr_fragments(size);
	struct gmfs_attr *attr;

	attr = kzalloc_flex(*attr, fragments, nr, GFP_KERNEL_ACCOUNT);
	if (!attr)
		return NULL;
	attr->id = id;
	attr->size = size;
	attr->name_len = name_len;
	attr->kind = kind;
	attr->nr = nr;
	return attr;
}

/* Copy the part of @src, which is at @at in the attribute, that is in this fragment. */
static void gmfs_fragment_fill(struct gmfs_attr_ser *rec, u32 at, const void *src,
			       u32 len)
{
	u32 start = max(at, rec->offset);
	u32 end = min(at + len, rec->offset + rec->len);

	if (start < end)
		memcpy(rec->data + (start - rec->offset), src + (start - at),
		       end - start);
}

/* Make an attribute with all its records. It is in no tree yet. */
static struct gmfs_attr *gmfs_attr_new(struct gmfs_image *img,
				       const struct gmfs_inode *ci, u8 kind,
				       const char *name, unsigned int len,
				       const void *value, size_t size)
{
	struct gmfs_attr *attr;
	unsigned int i;

	attr = gmfs_attr_alloc(gmfs_cookie_take(img), kind, len, len + size);
	if (!attr)
		return ERR_PTR(-ENOMEM);

	for (i = 0; i < attr->nr; i++) {
		u32 offset = i * GMFS_ATTR_FRAGMENT;
		unsigned int bytes = gmfs_fragment_len(attr->size, offset);
		struct gmfs_attr_ser *rec;

		rec = gmfs_slot_alloc(img, &img->attrs,
				      gmfs_fragment_slots(bytes));
		if (IS_ERR(rec)) {
			gmfs_attr_free(img, attr);
			return ERR_CAST(rec);
		}
		rec->ino = ci->ino;
		rec->id = attr->id;
		rec->size = attr->size;
		rec->offset = offset;
		rec->len = bytes;
		rec->kind = kind;
		rec->nr_slots = gmfs_fragment_slots(bytes);
		rec->name_len = len;
		gmfs_fragment_fill(rec, 0, name, len);
		gmfs_fragment_fill(rec, len, value, size);
		gmfs_dirty(img, rec);
		attr->fragments[i] = rec;
	}
	return attr;
}

/**
 * gmfs_attr_find - find an attribute by name
 * @ci: inode
 * @kind: enum gmfs_attr_kind_ser
 * @name: name, not terminated
 * @len: its length in bytes
 *
 * Context: any; the caller keeps the attributes of @ci from changing.
 *
 * Return: the attribute, or NULL.
 */
struct gmfs_attr *gmfs_attr_find(const struct gmfs_inode *ci, u8 kind,
				 const char *name, unsigned int len)
{
	struct rb_node *node = ci->attrs.rb_node;

	while (node) {
		struct gmfs_attr *attr = rb_entry(node, struct gmfs_attr, node);
		int cmp = gmfs_attr_cmp(attr, kind, name, len);

		if (!cmp)
			return attr;
		node = cmp < 0 ? node->rb_left : node->rb_right;
	}
	return NULL;
}

/**
 * gmfs_attr_first - get the first attribute of an inode
 * @ci: inode
 *
 * Context: any; the caller keeps the attributes of @ci from changing.
 *
 * Return: the attribute, or NULL.
 */
struct gmfs_attr *gmfs_attr_first(const struct gmfs_inode *ci)
{
	return rb_entry_safe(rb_first(&ci->attrs), struct gmfs_attr, node);
}

/**
 * gmfs_attr_next - get the next attribute of an inode
 * @attr: attribute
 *
 * Context: any; the caller keeps the attributes of the inode from changing.
 *
 * Return: the attribute after @attr, or NULL.
 */
struct gmfs_attr *gmfs_attr_next(const struct gmfs_attr *attr)
{
	return rb_entry_safe(rb_next(&attr->node), struct gmfs_attr, node);
}

/**
 * gmfs_attr_read - get the value of an attribute
 * @attr: attribute
 * @value: buffer of gmfs_attr_value_size() bytes
 *
 * Context: any; the caller keeps the attributes of the inode from changing.
 */
void gmfs_attr_read(const struct gmfs_attr *attr, void *value)
{
	unsigned int i;

	for (i = 0; i < attr->nr; i++) {
		const struct gmfs_attr_ser *rec = attr->fragments[i];
		u32 start = max(rec->offset, attr->name_len);

		if (start < rec->offset + rec->len)
			memcpy(value + (start - attr->name_len),
			       rec->data + (start - rec->offset),
			       rec->offset + rec->len - start);
	}
}

/**
 * gmfs_attr_set - add an attribute to an inode, or change its value
 * @img: the image
 * @ci: inode
 * @kind: enum gmfs_attr_kind_ser
 * @name: name, not terminated
 * @len: its length in bytes, at most GMFS_ATTR_NAME_MAX
 * @value: value
 * @size: its size in bytes, at most GMFS_ATTR_VALUE_MAX; not 0 if @len is 0
 *
 * Context: process context, may sleep, within an operation; takes @img->lock.
 * The caller has exclusive access to the attributes of @ci.
 *
 * Return: 0; -ENOSPC if the metadata cannot grow; -ENOMEM.
 */
int gmfs_attr_set(struct gmfs_image *img, struct gmfs_inode *ci, u8 kind,
		  const char *name, unsigned int len, const void *value,
		  size_t size)
{
	struct gmfs_attr *attr, *old;

	if (gmfs_cookie_next(img) >= GMFS_COOKIE_FULL)
		return -ENOSPC;
	attr = gmfs_attr_new(img, ci, kind, name, len, value, size);
	if (IS_ERR(attr))
		return PTR_ERR(attr);

	old = gmfs_attr_find(ci, kind, name, len);
	if (old)
		gmfs_attr_remove(img, ci, old);
	gmfs_attr_link(ci, attr);
	return 0;
}

/**
 * gmfs_attr_remove - remove an attribute of an inode and free it
 * @img: the image
 * @ci: inode
 * @attr: its attribute
 *
 * Context: process context, may sleep, within an operation; takes @img->lock.
 * The caller has exclusive access to the attributes of @ci.
 */
void gmfs_attr_remove(struct gmfs_image *img, struct gmfs_inode *ci,
		      struct gmfs_attr *attr)
{
	rb_erase(&attr->node, &ci->attrs);
	gmfs_attr_free(img, attr);
}

static int gmfs_attr_bad(struct gmfs_image *img,
			 const struct gmfs_attr_ser *rec, const char *what)
{
	return gmfs_image_bad(img, "attribute %llu of inode %llu: %s", rec->id,
			      rec->ino, what);
}

static int gmfs_fragment_check(struct gmfs_image *img,
			       const struct gmfs_attr_ser *rec, unsigned int room)
{
	u32 name_max = 0, value_max = GMFS_TARGET_MAX;
	unsigned int pad;

	switch (rec->kind) {
	case GMFS_ATTR_XATTR:
		name_max = GMFS_ATTR_NAME_MAX;
		value_max = GMFS_ATTR_VALUE_MAX;
		break;
	case GMFS_ATTR_TARGET:
		break;
	default:
		return gmfs_attr_bad(img, rec, "kind");
	}
	if (rec->name_len > name_max || (name_max && !rec->name_len))
		return gmfs_attr_bad(img, rec, "length of the name");
	if (rec->size < rec->name_len || rec->size - rec->name_len > value_max ||
	    !rec->size)
		return gmfs_attr_bad(img, rec, "size");
	if (rec->offset % GMFS_ATTR_FRAGMENT || rec->offset >= rec->size)
		return gmfs_attr_bad(img, rec, "offset of a fragment");
	if (rec->len != gmfs_fragment_len(rec->size, rec->offset))
		return gmfs_attr_bad(img, rec, "length of a fragment");
	if (rec->nr_slots != gmfs_fragment_slots(rec->len) || rec->nr_slots > room)
		return gmfs_attr_bad(img, rec, "number of slots");
	if (!rec->offset && memchr(rec->data, '\0', rec->name_len))
		return gmfs_attr_bad(img, rec, "not a name");
	if (rec->kind == GMFS_ATTR_TARGET && memchr(rec->data, '\0', rec->len))
		return gmfs_attr_bad(img, rec, "not a path");
	if (rec->id >= img->super->next_cookie)
		return gmfs_attr_bad(img, rec, "number was not given yet");
	pad = rec->nr_slots * GMFS_ATTR_SLOT - sizeof(*rec) - rec->len;
	if (memchr_inv(rec->data + rec->len, 0, pad))
		return gmfs_attr_bad(img, rec, "more than its bytes");
	if (rec->reserved && !img->lenient)
		return gmfs_attr_bad(img, rec, "reserved field");
	return 0;
}

/*
 * Find or make the attribute of a fragment. While an image is loaded, the trees are by
 * id, because the name is unknown until the first fragment is loaded.
 */
static struct gmfs_attr *gmfs_attr_by_id(struct gmfs_inode *ci,
					 const struct gmfs_attr_ser *rec)
{
	struct rb_node **at = &ci->attrs.rb_node;
	struct rb_node *up = NULL;
	struct gmfs_attr *attr;

	while (*at) {
		up = *at;
		attr = rb_entry(up, struct gmfs_attr, node);
		if (rec->id == attr->id)
			return attr;
		at = rec->id < attr->id ? &up->rb_left : &up->rb_right;
	}

	attr = gmfs_attr_alloc(rec->id, rec->kind, rec->name_len, rec->size);
	if (!attr)
		return NULL;
	rb_link_node(&attr->node, up, at);
	rb_insert_color(&attr->node, &ci->attrs);
	return attr;
}

/**
 * gmfs_attr_load - load a handed-over fragment of an attribute
 * @img: image that is being loaded, with all its inodes
 * @slot: the fragment's record or a free slot, not trusted
 * @room: number of slots to the end of the metadata block
 * @used: unused
 *
 * When all fragments are loaded, gmfs_attr_check() must be called for each inode before
 * its attributes are used.
 *
 * Context: process context, may sleep; the caller has exclusive access to @img.
 *
 * Return: number of slots of the record, 0 if it is free; -EUCLEAN if it is
 * damaged, with the reason in @img->why; -ENOMEM.
 */
int gmfs_attr_load(struct gmfs_image *img, void *slot, unsigned int room,
		   unsigned long *used)
{
	struct gmfs_attr_ser *rec = slot;
	struct gmfs_attr *attr;
	struct gmfs_inode *ci;
	unsigned int i;
	int err;

	if (!rec->ino)
		return 0;
	err = gmfs_fragment_check(img, rec, room);
	if (err)
		return err;
	ci = gmfs_inode_find(img, rec->ino);
	if (!ci)
		return gmfs_attr_bad(img, rec, "no such inode");

	attr = gmfs_attr_by_id(ci, rec);
	if (!attr)
		return -ENOMEM;
	if (rec->kind != attr->kind || rec->size != attr->size ||
	    rec->name_len != attr->name_len)
		return gmfs_attr_bad(img, rec, "fragments that do not match");
	i = rec->offset / GMFS_ATTR_FRAGMENT;
	if (attr->fragments[i])
		return gmfs_attr_bad(img, rec, "fragment is there twice");
	attr->fragments[i] = rec;
	return rec->nr_slots;
}

static void gmfs_attrs_forget(struct rb_root *attrs)
{
	struct gmfs_attr *attr, *next;

	rbtree_postorder_for_each_entry_safe(attr, next, attrs, node)
		kfree(attr);
	*attrs = RB_ROOT;
}

/* Check that @attr is complete, and insert it into the tree by name. */
static int gmfs_attr_check_record(struct gmfs_image *img, struct gmfs_inode *ci,
				  struct gmfs_attr *attr)
{
	unsigned int i;

	for (i = 0; i < attr->nr; i++)
		if (!attr->fragments[i])
			return gmfs_image_bad(img,
					      "attribute %llu of inode %llu: fragment %u is missing",
					      attr->id, ci->ino, i);
	if (attr->kind == GMFS_ATTR_TARGET &&
	    (!S_ISLNK(ci->rec->mode) || ci->rec->size != attr->size))
		return gmfs_attr_bad(img, attr->fragments[0],
				     "not this link's target");
	if (gmfs_attr_link(ci, attr))
		return gmfs_attr_bad(img, attr->fragments[0],
				     "name is there twice");
	return 0;
}

/**
 * gmfs_attr_check - check the loaded attributes of an inode
 * @img: image that is being loaded, with all attributes
 * @ci: inode
 *
 * Context: process context; the caller has exclusive access to @img.
 *
 * Return: 0; -EUCLEAN if one is damaged, with the reason in @img->why.
 */
int gmfs_attr_check(struct gmfs_image *img, struct gmfs_inode *ci)
{
	struct rb_root by_id = ci->attrs;
	struct rb_node *node;
	int err;

	ci->attrs = RB_ROOT;
	while ((node = rb_first(&by_id))) {
		struct gmfs_attr *attr = rb_entry(node, struct gmfs_attr, node);

		rb_erase(node, &by_id);
		err = gmfs_attr_check_record(img, ci, attr);
		if (err) {
			kfree(attr);
			gmfs_attrs_forget(&by_id);
			return err;
		}
	}
	if (S_ISLNK(ci->rec->mode) &&
	    !gmfs_attr_find(ci, GMFS_ATTR_TARGET, "", 0))
		return gmfs_image_bad(img, "inode %llu: link has no target",
				      ci->ino);
	return 0;
}

/**
 * gmfs_attr_forget - free the index of an inode's attributes
 * @ci: inode
 *
 * Does not change the records.
 */
void gmfs_attr_forget(struct gmfs_inode *ci)
{
	gmfs_attrs_forget(&ci->attrs);
}
