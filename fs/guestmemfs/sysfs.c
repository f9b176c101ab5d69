// SPDX-License-Identifier: GPL-2.0
/*
 * The file system's part of /sys/fs/guestmemfs, in addition to the files of the pool
 * (numa/sysfs.c), and /proc/PID/mountstats.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/kobject.h>
#include <linux/seq_file.h>
#include <linux/sprintf.h>
#include <linux/string.h>
#include <linux/string_helpers.h>
#include <linux/sysfs.h>

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
	&faults_pte_attr.attr,
	&faults_pmd_attr.attr,
	&faults_pud_attr.attr,
	NULL
};

/* Bytes of the line of a pin, with all columns at their maximum width. */
#define GMFS_PIN_LINE	128

static void gmfs_format_pin(const struct guestmem_pin *pin, char *line)
{
	char comm[4 * TASK_COMM_LEN];
	int len;

	len = string_escape_mem(pin->comm, strlen(pin->comm), comm,
				sizeof(comm) - 1,
				ESCAPE_OCTAL | ESCAPE_NAP | ESCAPE_APPEND, " \\");
	comm[len] = '\0';
	scnprintf(line, GMFS_PIN_LINE + 1, "%-11llu %-19llu %-19llu %-2s %-10d %-61s\n",
		  pin->ci->ino, pin->start, pin->len,
		  pin->write ? "rw" : "r", pin->pid, len ? comm : "-");
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
	u64 skip = off / GMFS_PIN_LINE;
	size_t from = off % GMFS_PIN_LINE;
	char line[GMFS_PIN_LINE + 1];
	struct guestmem_pin *pin;
	size_t done = 0, len;

	if (!capable(CAP_SYS_ADMIN))
		return 0;

	guard(spinlock)(&fs->pin_lock);

	list_for_each_entry(pin, &fs->pins, list) {
		if (skip) {
			skip--;
			continue;
		}
		if (done == count)
			break;
		gmfs_format_pin(pin, line);
		len = min(GMFS_PIN_LINE - from, count - done);
		memcpy(buf + done, line + from, len);
		done += len;
		from = 0;
	}
	return done;
}

static const struct bin_attribute pins_attr =
	__BIN_ATTR(pins, 0400, gmfs_pins_read, NULL, 0);

static const struct bin_attribute *const gmfs_bin_attrs[] = {
	&pins_attr,
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
#ifdef CONFIG_CGROUP_DMEM
GMPOOL_FEATURE(dmem);
#endif
GMPOOL_FEATURE(leaf_pmd);
GMPOOL_FEATURE(leaf_pud);
GMPOOL_FEATURE(pin);
GMPOOL_FEATURE(xattr);

static struct attribute *gmfs_features[] = {
	&feature_acl.attr,
#ifdef CONFIG_CGROUP_DMEM
	&feature_dmem.attr,
#endif
	&feature_leaf_pmd.attr,
	&feature_leaf_pud.attr,
	&feature_pin.attr,
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
