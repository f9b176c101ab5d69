/* SPDX-License-Identifier: GPL-2.0 */
/*
 * gmfs-numa: declarations that the subcommands share.
 */
#ifndef GMFS_NUMA_H
#define GMFS_NUMA_H

#include <argp.h>
#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define ARRAY_SIZE(a)		(sizeof(a) / sizeof((a)[0]))

/* Extended attributes that name the owner of a file. */
#define TAG_OWNER	"user.guestmemfs.owner"
#define TAG_VMM		"user.guestmemfs.vmm"
#define TAG_SINCE	"user.guestmemfs.since"
/* Boot id of the kernel: a process of another boot is gone, even if its pid is in use. */
#define TAG_BOOT	"user.guestmemfs.boot"

/* Where nodes are mounted if nothing else is said: DIR/nodeN. */
#define MOUNT_BASE	"/run/guestmemfs"

/* Exit codes, see gmfs-numa(8). */
enum {
	EX_OK		= 0,
	EX_DIFFERS	= 1,	/* asked a question, and the answer is no */
	EX_FAILED	= 2,	/* could not be done */
	EX_USAGE	= 64,	/* the command line is wrong */
	EX_NO_POOL	= 69,	/* no pool, or none on that node */
};

/* --- node.c: nodes with a pool, read from sysfs below --sysroot --- */

#define NODE_NAME_MAX	64

struct range {
	uint64_t base;		/* bytes */
	uint64_t size;		/* bytes */
};

/* A number that cannot be read, or that this kernel does not have. */
#define NUMBER_UNKNOWN UINT64_MAX

static inline bool is_known(uint64_t number)
{
	return number != NUMBER_UNKNOWN;
}

/*
 * Contents of /sys/fs/guestmemfs/nodeN. A field that cannot be read, or that this
 * kernel does not have, is NUMBER_UNKNOWN or empty.
 */
struct libmnt_table;
struct libmnt_iter;
struct libmnt_fs;

struct node {
	int nid;
	char *cpus;		/* list of CPUs, such as "0-3"; empty if none */
	uint64_t kernel_total;	/* bytes of memory that the kernel manages */
	uint64_t kernel_free;
	char *distances;	/* as in sysfs: "10 20" */
	uint64_t size;		/* bytes */
	uint64_t block_size;
	uint64_t total_blocks;
	uint64_t free_blocks;
	uint64_t scrubbed_blocks;
	uint64_t dirty_blocks;
	uint64_t poisoned_blocks;
	uint64_t reserved_blocks;
	uint64_t pinned_blocks;
	uint64_t attached_files;
	uint64_t private_files;
	uint64_t largest_free_run;
	uint64_t free_1g;
	uint64_t growth_reserve;	/* bytes */
	uint64_t total_inodes;
	uint64_t free_inodes;
	uint64_t max_inodes;
	uint64_t metadata_bytes;
	uint64_t generation;
	uint64_t mounts;
	uint64_t alloc_failures;
	uint64_t moved_blocks;
	uint64_t faults_pte;
	uint64_t faults_pmd;
	uint64_t faults_pud;
	char *state;		/* "active", "frozen", "read-only", "failed" */
	char *error;
	char *format;
	char *handed_over_from;
	char *uuid;
};

struct nodes {
	struct node *node;	/* by rising number */
	size_t nr;
};

#define SYSFS	"/sys/fs/guestmemfs"

/* Root of all paths that are read: "" or what --sysroot says. */
extern const char *sysroot;
/* Exits if there is no such directory, or no name of one. */
void set_sysroot(const char *path);
/* Exits with EX_USAGE if there is one: @what acts on this machine. */
void refuse_sysroot(const char *what);

/* Exits with EX_NO_POOL and says how to get a pool if there is none. */
struct nodes *nodes_read(void);
/* The same, but an empty list is fine too. */
struct nodes *nodes_read_any(void);
/* Reports why there is no pool. */
void no_pool(void);
/* The nodes that the arguments name, each a list as of parse_nodes(); all if none does. */
struct nodes *nodes_select(int argc, char **argv);
const struct node *nodes_find(const struct nodes *nodes, int nid);
void nodes_free(struct nodes *nodes);
/* The node of that number, or an exit with EX_NO_POOL that names those there are. */
const struct node *nodes_need(const struct nodes *nodes, int nid);
/* "1", "node1", or a list of them as numactl takes: sets *nids, exits with EX_USAGE if bad. */
size_t parse_nodes(const char *text, int **nids);

/* Mounts of guestmemfs; the node of one, or -1. */
struct libmnt_table *mounts_read(void);
struct libmnt_fs *mounts_next(struct libmnt_table *table, struct libmnt_iter *iter);
int fs_node(struct libmnt_fs *fs);

/*
 * Opens what is at an absolute path: below --sysroot if there is one, wherever the
 * symbolic links of that tree lead to, as they are those of the other machine.
 */
int root_open(const char *path, int flags);
/*
 * The same, of a regular file only: open() of a FIFO would wait for its other end, and
 * that of a device can do anything. Else -1 with ENOTSUP, or EISDIR.
 */
int root_open_regular(const char *path, int flags);
/* root_open_regular() of a file on this machine, for reading. */
int open_regular(const char *path);
/* root_open() for directories, text files, and existence. NULL or false, with errno set. */
DIR *root_opendir(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
FILE *root_fopen(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
bool root_exists(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The text of errno after these; as strerror(), but of ENOTSUP as they use it. */
const char *read_error(void);
/* Contents of a file that the user has named on this machine, or of a pipe; NULL with errno set. */
char *read_named(const char *path);
/* An absolute path below --sysroot without symbolic links, or NULL. Freed by the caller. */
char *root_realpath(const char *path);
/*
 * Contents of a regular file below sysroot without its last newline, or NULL with errno set;
 * ENOTSUP if it is a FIFO, a socket or a device.
 */
char *read_text(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void *read_binary(size_t *size, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* @total less @part, or NUMBER_UNKNOWN; 0 if @part has grown since @total was read. */
uint64_t known_difference(uint64_t total, uint64_t part);
/* Bytes of that many blocks of a node, or NUMBER_UNKNOWN. */
uint64_t node_bytes(const struct node *node, uint64_t blocks);
/* Bytes of a node's memory in a field such as "MemTotal:", or NUMBER_UNKNOWN. */
uint64_t node_meminfo(int nid, const char *field);
/* Inodes that a node has now, with those that have no name any more, or NUMBER_UNKNOWN. */
uint64_t node_used_inodes(int nid);
/* Files of a node that sessions of LUO preserve, or NUMBER_UNKNOWN. */
uint64_t node_preserved_files(int nid);
/* Writes to /sys/fs/guestmemfs/node<nid>/<name>: 0, or -errno. */
int node_write(int nid, const char *name, const char *value);
/* A call that modifies a frozen node blocks, and no signal ends the wait. */
bool node_is_frozen(int nid);
/* Is all of it in ranges, of which some may touch? */
bool ranges_cover(const struct range *ranges, size_t nr, uint64_t base, uint64_t size);
/* Physical ranges of a node's pool; needs CAP_SYS_ADMIN. -errno, or how many. */
ssize_t node_extents(int nid, struct range **ranges);
/* A mount of a node; its number is the same in all mount namespaces that show it. */
struct node_mount {
	int id;
	dev_t dev;
	int nid;		/* or -1 */
};

/* Calls @fn for each mount of a node that a process, such as "self", has. */
void mounts_each(const char *process,
		 void (*fn)(const struct node_mount *mount, void *data), void *data);
/* nid of the node that a file is on; -1 with errno: ENOTSUP if not guestmemfs. */
int fd_node(int fd);
/* Message for the errno of fd_node(). */
const char *fd_node_error(void);

/* --- procs.c: processes that use files --- */

struct stat;

/* A process has a file mapped or open. */
struct use {
	pid_t pid;
	char *command;
	dev_t dev;
	ino_t ino;
	bool deleted;		/* it has no name any more */
};

/*
 * What processes, but this one, have mapped, or have open as well, of the nodes that
 * are mounted in any mount namespace. *complete is false if some could not be looked at:
 * /proc shows none outside of its pid namespace. Only file_lease() can tell that a
 * file has no user: there are descriptors that no process has.
 */
size_t uses_read(bool open_too, struct use **uses, bool *complete);
void uses_free(struct use *uses, size_t nr);

/* A process maps a range of a file. */
struct mapped {
	pid_t pid;
	char *command;
	uint64_t start;		/* bytes */
	uint64_t end;
};

/*
 * The ranges of a file that processes map. *nr_users is how many have the file mapped or
 * open; *complete is that of uses_read(). A mapping through a stacked file system is not
 * one of this file.
 */
size_t uses_mapped(const struct stat *st, struct mapped **mapped, size_t *nr_users,
		   bool *complete);
void mapped_free(struct mapped *mapped, size_t nr);
/* Has uses_read() look for files of a device, also if no mount of it is seen. */
void pool_device_add(dev_t dev, int nid);
/* Node that is mounted from a device in any mount namespace, or -1. */
int pool_device_node(dev_t dev);
/* Do nodes have more mounts than all mount namespaces that can be seen show together? */
bool pool_mounts_hidden(void);
bool use_is_of(const struct use *use, const struct stat *st);
/* Is a process gone, of this boot or of that with the given id, if not NULL? */
bool process_gone(pid_t pid, const char *boot);

/* --- file.c and files.c: one file of guestmemfs, and finding them --- */

/* What a walk has found: the file itself, and where its name is. */
struct file {
	const char *path;	/* to be shown */
	const char *name;	/* in the directory dir */
	int dir;
	int place;		/* O_PATH: file_read() opens it */
	const struct stat *st;
	int nid;
};

/* Physically contiguous memory of a file, in bytes. */
struct extent {
	uint64_t offset;
	uint64_t phys;
	uint64_t size;
	bool known;		/* phys is told to root alone */
	bool private;		/* no process can map it */
};

struct tags {
	char *owner;		/* each may be NULL */
	char *vmm;
	char *since;
	char *boot;
	int err;		/* -errno if some are not known */
};

/* Bytes of a tag, at most. */
#define TAG_MAX	200

/*
 * Regular files of mounted nodes, or below paths: what the arguments name. EX_FAILED,
 * after warnings, if some could not be looked at.
 */
int files_walk(int argc, char **argv, void (*fn)(const struct file *file, void *arg), void *arg);
/*
 * The same of a node that is mounted where the descriptor is. *@nr_inodes, if not NULL,
 * is set to how many inodes have a name: directories, files and all others.
 */
int files_walk_mount(int fd, const char *path, int nid,
		     void (*fn)(const struct file *file, void *arg), void *arg,
		     uint64_t *nr_inodes);
/*
 * Finds a regular file of a node, and nothing else: a descriptor with O_PATH, so that
 * it is not opened. -1 with errno if not, of which file_open_error() tells.
 */
int file_find(const char *path, int *nid);
/* Opens what file_find() has found for reading, or also for writing: a descriptor, or -errno. */
int file_read(int place);
int file_write(int place);
/*
 * Opens such a file for reading, and nothing else: a FIFO waits, and devices can act,
 * when they are opened. -1 with errno if not.
 */
int file_open(const char *path, int *nid);
const char *file_open_error(void);
/*
 * A write lease, which the kernel gives if this descriptor is the only user of the file
 * (open or mapped) in all namespaces. 0, -EAGAIN if there is another user, or -errno if
 * that is not known. Until the descriptor is closed, open() of the file blocks.
 */
int file_lease(int fd);
/* False if a process waits in open() of the file, or the kernel has ended the lease since. */
bool file_lease_is_held(int fd);
/* Why it is not given, except for -EAGAIN. */
const char *file_lease_error(int err);
/* Removes the name if it is that of the file, which has such a lease still. 0 or -errno. */
int file_remove(int dir, const char *name, int fd);
/* The directory of a path and the name in it. */
void path_split(const char *path, char **dir, char **name);
/* How many, by rising offset, or -errno. */
ssize_t file_extents(int fd, struct extent **extents);
/* Bytes of it that 1 GiB mappings can map. */
uint64_t extent_1g_bytes(const struct extent *extent);
/* @fd can be one with O_PATH, also below. */
void tags_read(struct tags *tags, int fd);
void tags_free(struct tags *tags);
/* NULL leaves a tag as it is, "" removes it; the time is set. 0 or -errno. */
int tags_write(int fd, const char *owner, const char *vmm);
/* Exits with EX_USAGE if it is too long for a tag. */
void tag_check(const char *what, const char *value);

/* A mount of a node that no namespace has. -errno if there is none. */
int node_mount_privately(int nid);

/* --- pins.c: ranges of files that devices can access --- */

struct pin {
	ino_t ino;
	uint64_t start;		/* bytes */
	uint64_t size;		/* bytes */
	bool writes;
	bool private;		/* of attached_of_node(): no process can map the file */
	pid_t pid;		/* process that made it, which can have ended */
	char *command;		/* its name then */
};

struct pins {
	int nid;
	struct pin *pin;	/* by inode, and by start */
	size_t nr;
	bool known;		/* false: this kernel has no pins, or the caller is not root */
};

/* Pins of a node. They are read once. */
const struct pins *pins_of_node(int nid);
/* Files that are memory of guest_memfd, as pins of what guest_memfd has of them. */
const struct pins *attached_of_node(int nid);
/* The first pin of a file, and how many follow with it; NULL if there is none. */
const struct pin *pins_of_file(const struct pins *pins, ino_t ino, size_t *nr);
/* Bytes of a file that one of its pins covers, or several. */
uint64_t pins_bytes(const struct pin *pin, size_t nr);
/*
 * "77(qemu),78(vdpa)": processes that made them, each once; "previous-kernel" for pins that
 * were handed over. Freed by the caller.
 */
char *pins_tasks(const struct pin *pin, size_t nr);
/*
 * Calls @fn with a text for each file of a node that has pins. @fd is a mount of the node,
 * at @path for messages, or -1: then files have numbers only. Without @path the node is
 * mounted for this: a pin holds a node that is mounted nowhere.
 */
void pins_report(int nid, int fd, const char *path,
		 void (*fn)(const char *text, void *data), void *data);
/* Warns of each of them, and says how they end. */
void pins_warn(int nid, int fd, const char *path);

/* --- srat.c: where the firmware has memory --- */

enum srat_answer {
	SRAT_HERE,		/* all of it is on the node */
	SRAT_ELSEWHERE,		/* some of it is on another */
	SRAT_SILENT,		/* the firmware does not say */
};

struct srat;

/* NULL with errno if there is a table that cannot be read; a machine may have none. */
struct srat *srat_read(void);
void srat_free(struct srat *srat);
/* Has the firmware memory on that node? */
bool srat_knows_node(const struct srat *srat, int nid);
enum srat_answer srat_where(const struct srat *srat, int nid, uint64_t base, uint64_t size);

/* --- near.c: devices, CPUs and nodes, and how far they are from each other --- */

/* Node of a device or of CPUs; exits and says why if there is none. */
int node_near(const char *what);
/* As the kernel has it; UINT_MAX if it does not say. */
unsigned int node_distance(int from, int to);
/* The nearest node that has CPUs: itself, if it has some; -1 if none has. */
int node_with_cpus(int nid);

/* --- kcmdline.c: command lines as the kernel reads them --- */

/* COMMAND_LINE_SIZE of x86-64, with the terminator: the kernel drops what is behind. */
#define KCMDLINE_SIZE	2048

/*
 * Calls @fn with each parameter that is the kernel's, in the order of the line, with
 * a NULL value if there is no "=".
 */
void kcmdline_all(const char *line,
		  void (*fn)(const char *name, const char *value, void *data), void *data);
/* The same with the value of each parameter of this name. */
void kcmdline_each(const char *line, const char *name,
		   void (*fn)(const char *value, void *data), void *data);
bool kcmdline_same_name(const char *a, const char *b);

/* More than any machine has, and sums of it for all nodes are within 64 bits. */
#define KCMDLINE_MAX_BYTES	(1ULL << 50)

/*
 * The bytes of a size, as the kernel's memparse() reads it; 0 if the text is no number.
 * One with a suffix is at most KCMDLINE_MAX_BYTES. *@end is behind the size.
 */
uint64_t kcmdline_size(const char *text, const char **end);

/* A word as it stands in a file: around it are blanks of ASCII, or the ends of the line. */
struct kcmdline_word {
	const char *start;
	size_t length;
	bool ours;		/* guestmemfs or kho, and nothing else */
	bool loaders;		/* boot loaders put it in front */
	bool ends_line;		/* "--": what follows is init's */
};

/* Goes on in a line; false at its end. */
bool kcmdline_next_word(const char **at, struct kcmdline_word *word);
/* The values of all guestmemfs=, joined as the kernel joins them, or NULL. */
char *kcmdline_pools(const char *line);
/* Does guestmemfs= discard the pools that are handed over? */
bool kcmdline_says_fresh(const char *line);
/* Does guestmemfs= of it ask for a growth reserve on a node? */
bool kcmdline_has_growth(const char *line, int nid);
/* Does a kernel with this command line hand over: 1, 0, or -1 if it does not say. */
int kcmdline_says_kho(const char *line);
/* Does liveupdate= switch LUO on? It is off by default. */
bool kcmdline_says_luo(const char *line);

/* --- others.c: other memory that a command line sets aside at boot --- */

/* As many as the kernel can have. */
#define MAX_NODES	1024

struct others;

struct others *others_read(const char *line);
void others_free(struct others *o);
/*
 * Bytes that huge pages and hugetlb_cma= take of a node in addition to @least that the kernel
 * needs there. @nr_nodes have memory, @all bytes together.
 */
uint64_t others_on(const struct others *o, int nid, size_t nr_nodes, uint64_t all,
		   uint64_t least);
/* Bytes of crashkernel= on a machine with @all bytes. */
uint64_t others_crash(const struct others *o, uint64_t all);

/* --- shellvars.c: variables that shell files set, without executing them --- */

struct shellvars;

/* @interest: only what happens to variables whose names begin with it is of interest. */
struct shellvars *shellvars_new(const char *interest);
/* Goes on with a file; its name is for messages. */
void shellvars_source(struct shellvars *vars, const char *name, const char *text);
/* Empty if it is not set, NULL if it cannot be known without a shell. */
const char *shellvars_get(const struct shellvars *vars, const char *name);
/* The place, "FILE:LINE", at which what is of interest became unknown, or NULL. */
const char *shellvars_unknown(const struct shellvars *vars);
void shellvars_free(struct shellvars *vars);

/* --- bootloader.c: the kernel's command line, where boot loaders have it --- */

enum boot_loader { LOADER_ANY, LOADER_GRUB, LOADER_SYSTEMD };

struct boot;

/* How this machine gets its command line: by what the caller says, or what is found. */
struct boot *boot_find(enum boot_loader loader);
/* The line of the next boot without parameters of pools, or NULL if it is not known. */
char *boot_line(const struct boot *boot);
/*
 * Shows what changes so that the next boot has the parameter and kho=on, and writes it
 * unless it is a dry run. EX_DIFFERS if the kernel would not take it from the line
 * that comes of it, EX_FAILED if only the administrator can change the line.
 */
int boot_apply(const struct boot *boot, bool dry_run, const char *parameter);
void boot_free(struct boot *boot);

/* --- util.c --- */

/* Prefix of messages. */
extern const char *program;
/* argp_parse() with our exit codes; *first is set to the first argument. */
void parse_args(const struct argp *argp, int argc, char **argv, int *first, void *input);
/* For atexit(): a failed write to stdout is an error. */
void close_stdout(void);
/* Before any file is opened: none gets the number of a standard stream that is closed. */
void occupy_standard_streams(void);
extern bool opt_bytes;		/* --bytes: sizes as numbers of bytes */

void *xmalloc(size_t size);
void *xcalloc(size_t nr, size_t size);
void *xrealloc(void *p, size_t size);
char *xstrdup(const char *s);
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* "gmfs-numa: ..." on stderr; fatal() exits with status. */
void warning(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void fatal(int status, const char *fmt, ...) __attribute__((noreturn, format(printf, 2, 3)));
/*
 * text for a terminal: control characters, and what is no UTF-8, are \xNN. Names of
 * files and processes are what others made them. Freed by the caller.
 */
char *printable(const char *text);
/* The same for callers that escape control characters themselves. */
char *valid_utf8(const char *text);
/* The name of a process within a list: it cannot look like the next item. */
char *plain_command(const char *command);
/* A decimal number and nothing else. */
bool parse_number(const char *text, uint64_t *number);
/* "80%": from 0 to 100. */
bool parse_percent(const char *text, uint64_t *percent);
/* That much of a number of bytes, rounded down to a byte; @percent is 100 at most. */
uint64_t percent_of(uint64_t bytes, uint64_t percent);
/*
 * A file that is replaced as a whole, or not at all: what is printed to out is there
 * after replace_end(), which exits with EX_FAILED if that cannot be. What is no file,
 * such as a device, is written to.
 */
struct replacement {
	const char *path;
	const char *shown;		/* the path, for messages */
	const struct stat *like;	/* whose mode and owner it gets, or NULL: 0644 */
	char *temp;		/* NULL if it is no file */
	FILE *out;
};

void replace_begin(struct replacement *r, const char *path, const char *shown);
void replace_end(struct replacement *r);
/* A number of a node or CPU that text starts with; text is set behind it. */
bool next_number(const char **text, unsigned int *number);
/* Goes on in a list such as "0-3,8", as the kernel prints them; false at its end. */
bool next_range(const char **list, unsigned int *first, unsigned int *last);
/* An array of strings that ends with NULL, and the strings. */
void free_strings(char **strings);
/* list (may be NULL, is freed) with item behind it. */
char *join(char *list, const char *separator, const char *item);
/* The same of a list of nodes, as numactl takes it. */
char *join_node(char *list, int nid);
/* "64G", "512M", "2MiB", "1.5G", "4096": bytes; false if it is no size. */
bool parse_size(const char *text, uint64_t *bytes);
/* As lsmem prints them: "1.5G"; a number with --bytes. Freed by the caller. */
char *format_size(uint64_t bytes);

/* --- table.c: rows by libsmartcols, or JSON, as lsmem prints them --- */

/* COL_PROSE: text for people, whose blanks --raw leaves as they are in the last column. */
enum column_type { COL_TEXT, COL_PROSE, COL_NUMBER, COL_SIZE, COL_BOOL };

struct column {
	const char *name;	/* as for -o, and the header; in JSON in small letters */
	const char *help;
	enum column_type type;	/* text is to the left, others to the right */
	bool by_default;
};

struct table;

/* The options -J -r -n -b -o that all commands with a table have. */
struct table_options {
	bool json;
	bool raw;
	bool noheadings;
	const char *columns;	/* of -o: a list, with + in front to add to the default */
};

/* name: of the array in JSON. Exits with EX_USAGE if -o names what is not there. */
struct table *table_new(const char *name, const struct column *columns, size_t nr,
			const struct table_options *options);
void table_row(struct table *table);
/* column: index into columns; a column that is not shown is ignored. */
void table_text(struct table *table, size_t column, const char *text);
void table_number(struct table *table, size_t column, uint64_t number);
void table_size(struct table *table, size_t column, uint64_t bytes);
void table_bool(struct table *table, size_t column, bool value);
/* For JSON alone: a value that is not of the column's type, such as an array. */
void table_json(struct table *table, size_t column, const char *value);
/* text in quotes, with any bytes. Freed by the caller. */
char *json_string(const char *text);
void table_print(struct table *table);		/* and frees it */

/* For --help: a filter that prints the columns that columns_of_help() was given. */
void columns_of_help(const struct column *columns, size_t nr);
char *columns_help(int key, const char *text, void *input);
extern const struct argp table_argp;		/* a child parser; input: struct table_options */

/* One row for each dump in the file at @path, "-" is standard input. EX_OK or EX_DIFFERS. */
int check_dump(struct table *table, const char *path);

/* --- one function each, in cmd-<name>.c; argv[0] is "gmfs-numa <name>" --- */

int cmd_status(int argc, char **argv);
int cmd_map(int argc, char **argv);
int cmd_get(int argc, char **argv);
int cmd_set(int argc, char **argv);
int cmd_freeze(int argc, char **argv);
int cmd_thaw(int argc, char **argv);
int cmd_discard(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_handover(int argc, char **argv);
int cmd_metrics(int argc, char **argv);
int cmd_ls(int argc, char **argv);		/* and "files" */
int cmd_plan(int argc, char **argv);
int cmd_mount(int argc, char **argv);
int cmd_umount(int argc, char **argv);
int cmd_verify(int argc, char **argv);
int cmd_run(int argc, char **argv);
int cmd_tag(int argc, char **argv);
int cmd_reap(int argc, char **argv);
int cmd_resize(int argc, char **argv);
int cmd_carve(int argc, char **argv);
int cmd_uncarve(int argc, char **argv);
int cmd_compact(int argc, char **argv);
int cmd_store(int argc, char **argv);		/* and "load": both execute gmfs-state */

#endif /* GMFS_NUMA_H */
