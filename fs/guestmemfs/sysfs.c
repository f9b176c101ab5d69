// SPDX-License-Identifier: GPL-2.0
/*
 * The file system's part of /sys/fs/guestmemfs, in addition to the files of the pool
 * (numa/sysfs.c), and /proc/PID/mountstats.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/guestmem_client.h>
#include <linux/kobject.h>
#include <linux/seq_file.h>
#include <linux/sprintf.h>
#include <linux/string.h>
#include <linux/string_helpers.h>
#include <linux/sysfs.h>
#include <linux/userfaultfd_k.h>

#include "guestmemfs.h"
#include "numa/sysfs.h"

/* A file that shows one number. */
#define GMFS_NUMBER(_name, _value)					\
static ssize_t _name##_show(struct gmpool *pool, char *buf)		\
{									\
	struct gmfs_fs *fs = gmfs_find(pool);				\
									\
	/* A discard can replace the image. */				\
	guard(mutex)(&fs->lock);					\
	return sysfs_emit(buf, "%llu\n", (u64)(_value));		\
}									\
static struct gmpool_attribute _name##_attr = __ATTR_RO(_name)

static u64 gmfs_get_max_inodes(struct gmfs_fs *fs)
{
	u64 max;

	gmfs_count_inodes(&fs->image, &max);
	return max;
}

/* An inode that is being made is counted before it has a slot, so @used can be larger. */
static u64 gmfs_get_free_inodes(struct gmfs_fs *fs)
{
	u64 used = gmfs_count_inodes(&fs->image, NULL);

	return max(gmfs_count_inode_slots(&fs->image), used) - used;
}

/* Each mount holds an active reference, and so does a completed freeze. */
static unsigned int gmfs_get_mounts(struct gmfs_fs *fs)
{
	if (!fs->sb)
		return 0;
	return atomic_read(&fs->sb->s_active) -
	       (READ_ONCE(fs->sb->s_writers.frozen) == SB_FREEZE_COMPLETE);
}

GMFS_NUMBER(total_inodes, gmfs_count_inode_slots(&fs->image));
GMFS_NUMBER(free_inodes, gmfs_get_free_inodes(fs));
GMFS_NUMBER(max_inodes, gmfs_get_max_inodes(fs));
GMFS_NUMBER(mounts, gmfs_get_mounts(fs));
GMFS_NUMBER(preserved_files, atomic_read(&fs->preserved));
GMFS_NUMBER(pinned_blocks, gmfs_pinned_blocks(fs));
GMFS_NUMBER(attached_files, gmfs_count_clients(fs));
GMFS_NUMBER(private_files, gmfs_count_private(&fs->image));
GMFS_NUMBER(faults_pte, atomic64_read(&fs->faults[GMFS_MAP_PTE]));
GMFS_NUMBER(faults_pmd, atomic64_read(&fs->faults[GMFS_MAP_PMD]));
GMFS_NUMBER(faults_pud, atomic64_read(&fs->faults[GMFS_MAP_PUD]));

static struct attribute *gmfs_attrs[] = {
	&total_inodes_attr.attr,
	&free_inodes_attr.attr,
	&max_inodes_attr.attr,
	&mounts_attr.attr,
	&preserved_files_attr.attr,
	&pinned_blocks_attr.attr,
	&attached_files_attr.attr,
	&private_files_attr.attr,
	&faults_pte_attr.attr,
	&faults_pmd_attr.attr,
	&faults_pud_attr.attr,
	NULL
};

/* Bytes of the line of a pin or a client, with all columns at their maximum width. */
#define GMFS_PIN_LINE	128

static void gmfs_format_range(char *line, u64 ino, u64 start, u64 len,
			      const char *how, pid_t pid, const char *name)
{
	char comm[4 * TASK_COMM_LEN];
	int chars;

	chars = string_escape_mem(name, strlen(name), comm, sizeof(comm) - 1,
				  ESCAPE_OCTAL | ESCAPE_NAP | ESCAPE_APPEND,
				  " \\");
	comm[chars] = '\0';
	scnprintf(line, GMFS_PIN_LINE + 1, "%-11llu %-19llu %-19llu %-2s %-10d %-61s\n",
		  ino, start, len, how, pid, chars ? comm : "-");
}

static void gmfs_format_pin(const struct guestmem_pin *pin, char *line)
{
	gmfs_format_range(line, pin->ci->ino, pin->start, pin->len,
			  pin->write ? "rw" : "r", pin->pid, pin->comm);
}

static void gmfs_format_client(const struct guestmem_client *client, char *line)
{
	gmfs_format_range(line, file_inode(client->file)->i_ino, 0, client->len,
			  client->private ? "p" : "s", client->pid, client->comm);
}

/* What of a file of such lines a reader gets. */
struct gmfs_lines {
	char *buf;
	size_t count;
	size_t done;
	u64 skip;
	size_t from;
};

static struct gmfs_lines gmfs_lines_from(char *buf, loff_t off, size_t count)
{
	return (struct gmfs_lines){
		.buf	= buf,
		.count	= count,
		.skip	= off / GMFS_PIN_LINE,
		.from	= off % GMFS_PIN_LINE,
	};
}

static void gmfs_add_line(struct gmfs_lines *to, const char *line)
{
	size_t len = min(GMFS_PIN_LINE - to->from, to->count - to->done);

	memcpy(to->buf + to->done, line + to->from, len);
	to->done += len;
	to->from = 0;
}

/*
 * A binary attribute, since a text attribute ends after one page. All lines have the
 * same length, so a pin that is made or ends between two reads breaks no line.
 */
static ssize_t gmfs_pins_read(struct file *file, struct kobject *kobj,
			      const struct bin_attribute *attr, char *buf,
			      loff_t off, size_t count)
{
	struct gmfs_fs *fs = gmfs_find(gmpool_of_kobj(kobj));
	struct gmfs_lines to = gmfs_lines_from(buf, off, count);
	char line[GMFS_PIN_LINE + 1];
	struct guestmem_pin *pin;

	if (!capable(CAP_SYS_ADMIN))
		return 0;

	guard(spinlock)(&fs->pin_lock);

	list_for_each_entry(pin, &fs->pins, list) {
		if (to.skip) {
			to.skip--;
			continue;
		}
		if (to.done == count)
			break;
		gmfs_format_pin(pin, line);
		gmfs_add_line(&to, line);
	}
	return to.done;
}

static ssize_t gmfs_attached_read(struct file *file, struct kobject *kobj,
				  const struct bin_attribute *attr, char *buf,
				  loff_t off, size_t count)
{
	struct gmfs_fs *fs = gmfs_find(gmpool_of_kobj(kobj));
	struct gmfs_lines to = gmfs_lines_from(buf, off, count);
	char line[GMFS_PIN_LINE + 1];
	struct guestmem_client *client;

	if (!capable(CAP_SYS_ADMIN))
		return 0;

	guard(spinlock)(&fs->pin_lock);

	list_for_each_entry(client, &fs->clients, list) {
		if (to.skip) {
			to.skip--;
			continue;
		}
		if (to.done == count)
			break;
		gmfs_format_client(client, line);
		gmfs_add_line(&to, line);
	}
	return to.done;
}

static const struct bin_attribute pins_attr =
	__BIN_ATTR(pins, 0400, gmfs_pins_read, NULL, 0);
static const struct bin_attribute attached_attr =
	__BIN_ATTR(attached, 0400, gmfs_attached_read, NULL, 0);

static const struct bin_attribute *const gmfs_bin_attrs[] = {
	&pins_attr,
	&attached_attr,
	NULL
};

static const struct attribute_group gmfs_group = {
	.attrs		= gmfs_attrs,
	.bin_attrs	= gmfs_bin_attrs,
};

/**
 * gmfs_sysfs_add - add the files of a file system to its node in sysfs
 * @fs: the file system
 *
 * Context: boot.
 */
void __init gmfs_sysfs_add(struct gmfs_fs *fs)
{
	int err = gmpool_add_attributes(fs->pool, &gmfs_group);

	if (err)
		pr_warn("node %d: the file system cannot add its files to the node's directory in sysfs (%pe)\n",
			gmpool_nid(fs->pool), ERR_PTR(err));
}

/**
 * gmfs_show_stats - show the statistics of a mount in /proc/PID/mountstats
 * @seq: output
 * @root: root dentry of the mount
 *
 * Return: 0.
 */
int gmfs_show_stats(struct seq_file *seq, struct dentry *root)
{
	static const char * const names[] = {
		[GMFS_MAP_PTE] = "pte",
		[GMFS_MAP_PMD] = "pmd",
		[GMFS_MAP_PUD] = "pud",
	};
	struct gmfs_fs *fs = GMFS_FS(root->d_sb);
	unsigned int i;

	for (i = 0; i < GMFS_MAPS; i++)
		seq_printf(seq, " faults_%s=%lld", names[i],
			   atomic64_read(&fs->faults[i]));
	seq_printf(seq, " pinned_blocks=%llu", gmfs_pinned_blocks(fs));
	seq_printf(seq, " dirty_blocks=%llu", gmpool_dirty_blocks(fs->pool));
	seq_printf(seq, " poisoned_pages=%llu",
		   gmpool_poisoned_pages(fs->pool));
	seq_printf(seq, " inodes=%llu", gmfs_count_inodes(&fs->image, NULL));
	seq_printf(seq, " metadata_bytes=%llu",
		   gmpool_metadata_bytes(fs->pool));
	return 0;
}

GMPOOL_FEATURE(acl);
#ifdef CONFIG_KVM_GUEST_MEMFD_BACKING
GMPOOL_FEATURE(guest_memfd);
#endif
#ifdef CONFIG_CGROUP_DMEM
GMPOOL_FEATURE(dmem);
#endif
GMPOOL_FEATURE(leaf_pmd);
GMPOOL_FEATURE(leaf_pud);
GMPOOL_FEATURE(pin);
#ifdef UFFD_HAS_CONTINUE_RANGE	/* patches/0021 */
GMPOOL_FEATURE(userfaultfd);
#endif
GMPOOL_FEATURE(xattr);

static struct attribute *gmfs_features[] = {
	&feature_acl.attr,
#ifdef CONFIG_KVM_GUEST_MEMFD_BACKING
	&feature_guest_memfd.attr,
#endif
#ifdef CONFIG_CGROUP_DMEM
	&feature_dmem.attr,
#endif
	&feature_leaf_pmd.attr,
	&feature_leaf_pud.attr,
	&feature_pin.attr,
#ifdef UFFD_HAS_CONTINUE_RANGE
	&feature_userfaultfd.attr,
#endif
	&feature_xattr.attr,
	NULL
};

static const struct attribute_group gmfs_feature_group = {
	.name	= "features",
	.attrs	= gmfs_features,
};

/**
 * gmfs_sysfs_init - announce the features of the file system in sysfs
 *
 * Context: boot.
 */
void __init gmfs_sysfs_init(void)
{
	int err = gmpool_add_features(&gmfs_feature_group);

	if (err)
		pr_warn("the file system cannot add its files to /sys/fs/guestmemfs/features (%pe)\n",
			ERR_PTR(err));
}
