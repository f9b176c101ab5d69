// SPDX-License-Identifier: GPL-2.0
/*
 * Extended attributes and ACLs: operations of the VFS on the image.
 *
 * The image stores an ACL as the extended attribute that user space sees, with the
 * ids of the initial user namespace. The VFS caches it in the inode.
 */

#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <linux/security.h>
#include <linux/slab.h>
#include <linux/xattr.h>

#include "guestmemfs.h"

static struct gmfs_attr *gmfs_find_xattr(struct inode *inode, const char *name)
{
	return gmfs_attr_find(GMFS_I(inode)->ci, GMFS_ATTR_XATTR, name,
			      strlen(name));
}

/* Called within an operation, with the attr_lock unless @inode is new. */
static int gmfs_store_xattr(struct inode *inode, const char *name,
			    const void *value, size_t size, int flags)
{
	struct gmfs_image *img = &GMFS_FS(inode->i_sb)->image;
	struct gmfs_attr *attr = gmfs_find_xattr(inode, name);

	if (attr && flags & XATTR_CREATE)
		return -EEXIST;
	if (!attr && flags & XATTR_REPLACE)
		return -ENODATA;
	if (value)
		return gmfs_attr_set(img, GMFS_I(inode)->ci, GMFS_ATTR_XATTR,
				     name, strlen(name), value, size);
	if (attr)
		gmfs_attr_remove(img, GMFS_I(inode)->ci, attr);
	return 0;
}

static int gmfs_xattr_get(const struct xattr_handler *handler,
			  struct dentry *unused, struct inode *inode,
			  const char *name, void *buffer, size_t size)
{
	struct gmfs_attr *attr;
	size_t value_size;

	guard(rwsem_read)(&GMFS_I(inode)->attr_lock);

	attr = gmfs_find_xattr(inode, xattr_full_name(handler, name));
	if (!attr)
		return -ENODATA;
	value_size = gmfs_attr_value_size(attr);
	if (!buffer)
		return value_size;
	if (size < value_size)
		return -ERANGE;
	gmfs_attr_read(attr, buffer);
	return value_size;
}

static int gmfs_xattr_set(const struct xattr_handler *handler,
			  struct mnt_idmap *idmap, struct dentry *unused,
			  struct inode *inode, const char *name,
			  const void *value, size_t size, int flags)
{
	struct gmfs_fs *fs = GMFS_FS(inode->i_sb);
	unsigned int op;
	int err;

	op = gmpool_op_begin(fs->pool);
	down_write(&GMFS_I(inode)->attr_lock);
	err = gmfs_store_xattr(inode, xattr_full_name(handler, name), value,
			       size, flags);
	up_write(&GMFS_I(inode)->attr_lock);
	if (!err) {
		inode_set_ctime_current(inode);
		gmfs_inode_write(inode);
	}
	gmpool_op_end(fs->pool, op);
	return err;
}

static const struct xattr_handler gmfs_user_handler = {
	.prefix	= XATTR_USER_PREFIX,
	.get	= gmfs_xattr_get,
	.set	= gmfs_xattr_set,
};

static const struct xattr_handler gmfs_trusted_handler = {
	.prefix	= XATTR_TRUSTED_PREFIX,
	.get	= gmfs_xattr_get,
	.set	= gmfs_xattr_set,
};

static const struct xattr_handler gmfs_security_handler = {
	.prefix	= XATTR_SECURITY_PREFIX,
	.get	= gmfs_xattr_get,
	.set	= gmfs_xattr_set,
};

const struct xattr_handler * const gmfs_xattr_handlers[] = {
	&gmfs_user_handler,
	&gmfs_trusted_handler,
	&gmfs_security_handler,
	NULL
};

/**
 * gmfs_listxattr - list the names of the extended attributes of an inode
 * @dentry: a dentry of the inode
 * @buffer: set to the names, each with a NUL; NULL to get only their size
 * @size: size of @buffer in bytes
 *
 * Names that begin with "trusted." are listed for CAP_SYS_ADMIN only.
 *
 * Context: process context, may sleep; takes gmfs_inode_info.attr_lock.
 *
 * Return: size of all names in bytes; -ERANGE if @buffer is too small.
 */
ssize_t gmfs_listxattr(struct dentry *dentry, char *buffer, size_t size)
{
	bool trusted = ns_capable_noaudit(&init_user_ns, CAP_SYS_ADMIN);
	struct gmfs_inode_info *inode = GMFS_I(d_inode(dentry));
	struct gmfs_attr *attr;
	size_t used = 0;

	guard(rwsem_read)(&inode->attr_lock);

	for (attr = gmfs_attr_first(inode->ci); attr; attr = gmfs_attr_next(attr)) {
		const char *name = gmfs_attr_name(attr);
		unsigned int len = attr->name_len;

		if (attr->kind != GMFS_ATTR_XATTR ||
		    (!trusted && len > XATTR_TRUSTED_PREFIX_LEN &&
		     !memcmp(name, XATTR_TRUSTED_PREFIX,
			     XATTR_TRUSTED_PREFIX_LEN)))
			continue;
		if (buffer) {
			if (size - used < len + 1)
				return -ERANGE;
			memcpy(buffer + used, name, len);
			buffer[used + len] = '\0';
		}
		used += len + 1;
	}
	return used;
}

static const char *gmfs_acl_name(int type)
{
	return type == ACL_TYPE_ACCESS ? XATTR_NAME_POSIX_ACL_ACCESS :
					 XATTR_NAME_POSIX_ACL_DEFAULT;
}

/* Called like gmfs_store_xattr(). If @acl is NULL, removes the ACL. */
static int gmfs_store_acl(struct inode *inode, int type,
			  const struct posix_acl *acl)
{
	void *value = NULL;
	size_t size = 0;
	int err;

	if (acl) {
		value = posix_acl_to_xattr(&init_user_ns, acl, &size, GFP_KERNEL);
		if (!value)
			return -ENOMEM;
	}
	err = gmfs_store_xattr(inode, gmfs_acl_name(type), value, size, 0);
	kfree(value);
	return err;
}

/**
 * gmfs_acl_init - tell the VFS if an inode has no ACL, for path walks
 * @inode: inode, read from its record
 */
void gmfs_acl_init(struct inode *inode)
{
	if (!gmfs_find_xattr(inode, XATTR_NAME_POSIX_ACL_ACCESS) &&
	    !gmfs_find_xattr(inode, XATTR_NAME_POSIX_ACL_DEFAULT))
		cache_no_acl(inode);
}

/**
 * gmfs_get_inode_acl - get an ACL of an inode
 * @inode: inode
 * @type: ACL_TYPE_ACCESS or ACL_TYPE_DEFAULT
 * @rcu: the caller is in RCU mode: the function must not sleep
 *
 * Context: process context, may sleep unless @rcu; takes gmfs_inode_info.attr_lock.
 *
 * Return: the ACL, NULL if there is none, or an ERR_PTR.
 */
struct posix_acl *gmfs_get_inode_acl(struct inode *inode, int type, bool rcu)
{
	void *value __free(kvfree) = NULL;
	struct gmfs_attr *attr;
	size_t size;

	if (rcu)
		return ERR_PTR(-ECHILD);

	scoped_guard(rwsem_read, &GMFS_I(inode)->attr_lock) {
		attr = gmfs_find_xattr(inode, gmfs_acl_name(type));
		if (!attr)
			return NULL;
		size = gmfs_attr_value_size(attr);
		value = kvmalloc(size, GFP_KERNEL);
		if (!value)
			return ERR_PTR(-ENOMEM);
		gmfs_attr_read(attr, value);
	}
	return posix_acl_from_xattr(&init_user_ns, value, size);
}

/**
 * gmfs_set_acl - set or remove an ACL of an inode
 * @idmap: of the mount
 * @dentry: a dentry of the inode
 * @acl: ACL, or NULL
 * @type: ACL_TYPE_ACCESS or ACL_TYPE_DEFAULT
 *
 * Context: process context, may sleep; the inode's i_rwsem is held. Takes
 * gmfs_inode_info.attr_lock.
 *
 * Return: 0; -ENOSPC if the metadata cannot grow; -ENOMEM.
 */
int gmfs_set_acl(struct mnt_idmap *idmap, struct dentry *dentry,
		 struct posix_acl *acl, int type)
{
	struct inode *inode = d_inode(dentry);
	struct gmfs_fs *fs = GMFS_FS(inode->i_sb);
	umode_t mode = inode->i_mode;
	unsigned int flags;
	int err;

	if (type == ACL_TYPE_ACCESS && acl) {
		err = posix_acl_update_mode(idmap, inode, &mode, &acl);
		if (err)
			return err;
	}

	flags = gmpool_op_begin(fs->pool);
	down_write(&GMFS_I(inode)->attr_lock);
	err = gmfs_store_acl(inode, type, acl);
	up_write(&GMFS_I(inode)->attr_lock);
	if (!err) {
		inode->i_mode = mode;
		inode_set_ctime_current(inode);
		gmfs_inode_write(inode);
		set_cached_acl(inode, type, acl);
	}
	gmpool_op_end(fs->pool, flags);
	return err;
}

/**
 * gmfs_acl_of_mode - get the access ACL that an inode has after chmod()
 * @inode: inode
 * @mode: its new mode
 *
 * Context: process context, may sleep; the inode's i_rwsem is held.
 *
 * Return: the ACL, NULL if the inode has none, or an ERR_PTR.
 */
struct posix_acl *gmfs_acl_of_mode(struct inode *inode, umode_t mode)
{
	struct posix_acl *acl;
	int err;

	if (S_ISLNK(inode->i_mode))
		return NULL;
	acl = get_inode_acl(inode, ACL_TYPE_ACCESS);
	if (IS_ERR_OR_NULL(acl))
		return acl;
	err = __posix_acl_chmod(&acl, GFP_KERNEL, mode);
	return err ? ERR_PTR(err) : acl;
}

/**
 * gmfs_store_access_acl - change the access ACL together with other attributes
 * @inode: inode
 * @acl: from gmfs_acl_of_mode(), not NULL
 *
 * Context: process context, may sleep, within an operation; the inode's i_rwsem
 * is held. Takes gmfs_inode_info.attr_lock.
 *
 * Return: 0; -ENOSPC if the metadata cannot grow; -ENOMEM.
 */
int gmfs_store_access_acl(struct inode *inode, struct posix_acl *acl)
{
	int err;

	down_write(&GMFS_I(inode)->attr_lock);
	err = gmfs_store_acl(inode, ACL_TYPE_ACCESS, acl);
	up_write(&GMFS_I(inode)->attr_lock);
	if (!err)
		set_cached_acl(inode, ACL_TYPE_ACCESS, acl);
	return err;
}

/* Store the extended attributes that security modules set for a new inode. */
static int gmfs_do_init_xattrs(struct inode *inode, const struct xattr *xattrs,
			       void *unused)
{
	const struct xattr *x;
	int err;

	for (x = xattrs; x->name; x++) {
		char *name __free(kfree) = kasprintf(GFP_KERNEL, "%s%s",
						     XATTR_SECURITY_PREFIX,
						     x->name);

		if (!name)
			return -ENOMEM;
		if (strlen(name) > GMFS_ATTR_NAME_MAX ||
		    x->value_len > GMFS_ATTR_VALUE_MAX)
			return -E2BIG;
		err = gmfs_store_xattr(inode, name, x->value, x->value_len, 0);
		if (err)
			return err;
	}
	return 0;
}

static int gmfs_init_acls(struct inode *inode, struct inode *dir)
{
	struct posix_acl *default_acl, *acl;
	int err;

	err = posix_acl_create(dir, &inode->i_mode, &default_acl, &acl);
	if (err)
		return err;
	if (default_acl)
		err = gmfs_store_acl(inode, ACL_TYPE_DEFAULT, default_acl);
	if (acl && !err)
		err = gmfs_store_acl(inode, ACL_TYPE_ACCESS, acl);
	if (!err) {
		set_cached_acl(inode, ACL_TYPE_DEFAULT, default_acl);
		set_cached_acl(inode, ACL_TYPE_ACCESS, acl);
	}
	posix_acl_release(default_acl);
	posix_acl_release(acl);
	return err;
}

/**
 * gmfs_init_xattrs - set security labels and ACLs of a new inode
 * @inode: the inode, published; its mode is changed by the default ACL of the
 *	directory, or else by the umask
 * @dir: directory in which it is made
 * @name: its name, or NULL
 *
 * Context: process context, may sleep, within an operation; the caller has exclusive
 * access to @inode.
 *
 * Return: 0 or a negative errno; on an error, some of them may have been set.
 */
int gmfs_init_xattrs(struct inode *inode, struct inode *dir,
		     const struct qstr *name)
{
	int err;

	err = security_inode_init_security(inode, dir, name,
					   gmfs_do_init_xattrs, NULL);
	if (err && err != -EOPNOTSUPP)
		return err;
	return gmfs_init_acls(inode, dir);
}
