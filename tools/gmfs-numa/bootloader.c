// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel's command line, where boot loaders have it: which one boots this machine,
 * from which files it gets the line, and what line the next boot has.
 *
 * Nothing is executed, as files below --sysroot may be those of another machine.
 */

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gmfs-numa.h"

#define EFI_LOADER	"4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
#define CMDLINE_FILE	"/etc/kernel/cmdline"
#define GRUB_DEFAULT	"/etc/default/grub"
#define GRUB_VARIABLE	"GRUB_CMDLINE_LINUX_DEFAULT"
#define BACKUP		".gmfs-numa-backup"
#define OUR_COMMENT	"# Written by gmfs-numa plan --apply.\n"

/* What boot loaders add by themselves: BOOT_IMAGE=, root=, ro, or initrd=. */
#define LOADER_ADDS	128

/* In which form the line is kept. */
enum boot_form {
	FORM_UNKNOWN,		/* only the administrator can change it */
	FORM_LINE,		/* the words themselves, in one file */
	FORM_LINES,		/* the same, in all files of a directory */
	FORM_SHELL,		/* a variable that shell files set one after the other */
};

struct boot {
	enum boot_form form;
	char *found;		/* what boots this machine, and how that is known */
	const char *file;	/* that is written */
	const char *dir;	/* of drop-ins that are read as well, or NULL */
	const char *suffix;	/* of these */
	const char *main;	/* shell file that is read before them, or NULL */
	const char *variable;	/* that we add to */
	const char *before;	/* variable that comes before it in the line, or NULL */
	const char *interest;	/* what both begin with */
	const char *first_copy[3];	/* what the file starts with if it is not there yet */
	bool one_line;		/* of the file, the first line alone counts */
	const char *then;	/* what makes it count */
	char *advice;		/* for FORM_UNKNOWN, with %s for the parameters */
	bool advice_has_kho;	/* so that guestmemfs= alone comes there */
};

/* --- files --- */

/* The text of a file or NULL if it does not exist. Any other error is fatal. */
static char *boot_read(const char *name)
{
	size_t size;
	char *data = read_binary(&size, "%s", name), *text;

	if (!data && errno != ENOENT && errno != ENOTDIR)
		fatal(EX_FAILED, "%s%s: %s: its contents are not known, so no file is changed",
		      sysroot, name, read_error());
	if (!data)
		return NULL;
	text = xasprintf("%.*s", (int)size, data);
	if (strlen(text) != size)
		fatal(EX_FAILED, "%s%s: this is no text", sysroot, name);
	free(data);
	return text;
}

static bool exists(const char *name)
{
	int fd = root_open(name, O_PATH);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static bool ends_with(const char *name, const char *suffix)
{
	size_t len = strlen(name), of_suffix = strlen(suffix);

	return len > of_suffix && !strcmp(name + len - of_suffix, suffix);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char * const *)a, *(char * const *)b);
}

/* Full names of a directory's files with that suffix, sorted as shells do it; NULL ends. */
static char **boot_list(const char *dir, const char *suffix)
{
	char **names = xcalloc(1, sizeof(*names));
	int fd = root_open(dir, O_RDONLY | O_DIRECTORY);
	DIR *stream = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	size_t nr = 0;

	if (!stream && errno != ENOENT && errno != ENOTDIR)
		fatal(EX_FAILED, "%s%s: %s", sysroot, dir, strerror(errno));
	while (stream && (entry = readdir(stream))) {
		if (*entry->d_name == '.' || !ends_with(entry->d_name, suffix))
			continue;
		names = xrealloc(names, (nr + 2) * sizeof(*names));
		names[nr++] = xasprintf("%s/%s", dir, entry->d_name);
		names[nr] = NULL;
	}
	if (stream)
		closedir(stream);
	qsort(names, nr, sizeof(*names), compare_names);
	return names;
}

/* Does a file of this kind have the text at the start of a line, or anywhere in it? */
static bool any_file_has(const char *dir, const char *suffix, const char *text)
{
	char **names = boot_list(dir, suffix);
	bool found = false;
	size_t i;

	for (i = 0; names[i] && !found; i++) {
		char *contents = boot_read(names[i]);

		found = contents && strstr(contents, text);
		free(contents);
	}
	free_strings(names);
	return found;
}

static bool any_file(const char *dir, const char *suffix)
{
	return any_file_has(dir, suffix, "");
}

/* --- which boot loader --- */

/* What a boot loader has told by an EFI variable: UTF-16 behind four bytes, or NULL. */
static char *efi_text(const char *name)
{
	size_t size, i, nr = 0;
	unsigned char *data = read_binary(&size, "/sys/firmware/efi/efivars/%s-" EFI_LOADER, name);
	char *text;

	if (!data)
		return NULL;
	text = xcalloc(1, size + 1);
	for (i = 4; i + 1 < size && (data[i] || data[i + 1]); i += 2)
		text[nr++] = data[i + 1] || data[i] < ' ' || data[i] > '~' ? '?' : data[i];
	free(data);
	return text;
}

static bool is_distribution(const char *name)
{
	struct shellvars *vars = shellvars_new("ID");
	char *text = boot_read("/etc/os-release"), *list, *rest, *word;
	const char *id, *like;
	bool is = false;

	if (!text)
		text = boot_read("/usr/lib/os-release");
	shellvars_source(vars, "os-release", text ? text : "");
	id = shellvars_get(vars, "ID");
	like = shellvars_get(vars, "ID_LIKE");
	list = xasprintf("%s %s", id ? id : "", like ? like : "");
	rest = list;
	/* "opensuse-tumbleweed" and "sles" have "suse" in ID_LIKE. */
	while ((word = strsep(&rest, " ")))
		is |= !strcmp(word, name);
	free(list);
	free(text);
	shellvars_free(vars);
	return is;
}

/* The script that makes GRUB's configuration, or NULL. */
static const char *grub_mkconfig(void)
{
	static const char * const places[] = {
		"/usr/sbin/grub-mkconfig", "/usr/bin/grub-mkconfig",
		"/usr/sbin/grub2-mkconfig", "/usr/bin/grub2-mkconfig",
		"/usr/local/sbin/grub-mkconfig",
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(places); i++)
		if (exists(places[i]))
			return places[i];
	return NULL;
}

static bool grub_is_there(void)
{
	return exists(GRUB_DEFAULT) || exists("/etc/default/grub.d") || grub_mkconfig();
}

static bool systemd_boot_is_there(void)
{
	return exists(CMDLINE_FILE) || exists("/boot/loader/loader.conf") ||
	       exists("/efi/loader/loader.conf") || exists("/boot/efi/loader/loader.conf") ||
	       any_file("/etc/cmdline.d", ".conf") || any_file("/etc/kernel/cmdline.d", ".cfg") ||
	       any_file("/etc/kernel/cmdline.d", ".conf");
}

/*
 * By what the running kernel was told: a boot loader's word in its line. If that leads to
 * none, @why can say so. Firmware and rEFInd give a kernel an initrd as systemd-boot does,
 * and those of the network have BOOT_IMAGE= as GRUB has it.
 */
static enum boot_loader loader_by_cmdline(const char **why)
{
	enum boot_loader loader = LOADER_ANY;
	char *line = read_text("/proc/cmdline");
	const char *at = line ? line : "";
	struct kcmdline_word word;

	while (kcmdline_next_word(&at, &word) && !word.ends_line) {
		if (!strncmp(word.start, "initrd=\\", 8)) {
			loader = systemd_boot_is_there() || exists("/usr/lib/kernel/cmdline") ||
				 exists("/etc/kernel/proxmox-boot-uuids") ? LOADER_SYSTEMD :
									    LOADER_ANY;
			*why = loader == LOADER_SYSTEMD ?
			       "/proc/cmdline has initrd=\\" :
			       "/proc/cmdline has initrd=\\, "
			       "and no files of systemd-boot are found";
			break;
		}
		if (!strncmp(word.start, "initrd=", 7) || !strncmp(word.start, "BOOTIF=", 7)) {
			loader = LOADER_ANY;
			*why = "/proc/cmdline has initrd= or BOOTIF=, "
			       "as PXELINUX, iPXE and SYSLINUX write it";
			break;
		}
		if (!strncmp(word.start, "BOOT_IMAGE=", 11) && grub_is_there()) {
			loader = LOADER_GRUB;
			*why = "/proc/cmdline has BOOT_IMAGE=";
		}
	}
	free(line);
	return loader;
}

static enum boot_loader loader_by_files(const char **why)
{
	bool grub = grub_is_there(), other = systemd_boot_is_there();

	if (grub == other)
		return LOADER_ANY;
	*why = "files of no other boot loader are found";
	return grub ? LOADER_GRUB : LOADER_SYSTEMD;
}

/*
 * Which one it is; in @found how that is known, or why it is not. What EFI says is
 * true also after a kexec, and of what is installed not all is in use.
 */
static enum boot_loader find_loader(enum boot_loader loader, char **found)
{
	char *info = efi_text("LoaderInfo"), *stub = efi_text("StubInfo");
	const char *why = NULL;

	if (loader != LOADER_ANY) {
		*found = xstrdup("the command line says so");
	} else if (stub && *stub) {
		loader = LOADER_SYSTEMD;
		*found = xasprintf("a unified kernel image: the EFI variable StubInfo is \"%s\"",
				   stub);
	} else if (info && *info) {
		loader = !strncmp(info, "GRUB", 4) ? LOADER_GRUB :
			 !strncmp(info, "systemd-boot", 12) ? LOADER_SYSTEMD : LOADER_ANY;
		*found = xasprintf("the EFI variable LoaderInfo is \"%s\"%s", info,
				   loader == LOADER_ANY ? ", which is not supported" : "");
	} else {
		loader = loader_by_cmdline(&why);
		if (!why)
			loader = loader_by_files(&why);
		if (!why && grub_is_there())
			why = "files of both GRUB and systemd-boot are there: "
			      "say --grub or --systemd-boot";
		else if (!why)
			why = "neither GRUB nor systemd-boot is found";
		*found = xstrdup(why);
	}
	free(info);
	free(stub);
	return loader;
}

/* --- where the line is --- */

static struct shellvars *source_files(const struct boot *boot, const char *ours)
{
	struct shellvars *vars = shellvars_new(boot->interest);
	char **names = boot->dir ? boot_list(boot->dir, boot->suffix) : xcalloc(1, sizeof(*names));
	char *text = boot->main && strcmp(boot->main, boot->file) ? boot_read(boot->main) : NULL;
	bool done = false;
	size_t i;

	if (text)
		shellvars_source(vars, boot->main, text);
	free(text);
	for (i = 0; names[i]; i++) {
		/* Also if it is not there yet, it counts where it will be. */
		if (!done && strcmp(names[i], boot->file) >= 0) {
			shellvars_source(vars, boot->file, ours ? ours : "");
			done = true;
		}
		if (!strcmp(names[i], boot->file))
			continue;
		text = boot_read(names[i]);
		shellvars_source(vars, names[i], text ? text : "");
		free(text);
	}
	if (!done)
		shellvars_source(vars, boot->file, ours ? ours : "");
	free_strings(names);
	return vars;
}

static void use_shell(struct boot *boot, const char *file, const char *main, const char *dir,
		      const char *suffix)
{
	boot->form = FORM_SHELL;
	boot->file = file;
	boot->main = main;
	boot->dir = dir;
	boot->suffix = suffix;
}

static void use_grub_variables(struct boot *boot)
{
	boot->before = "GRUB_CMDLINE_LINUX";
	boot->interest = boot->before;
	boot->variable = GRUB_VARIABLE;
}

/* GRUB_ENABLE_BLSCFG: the entries have lines of their own. */
static bool grub_has_entries(void)
{
	struct boot boot = { .interest = "GRUB_ENABLE_BLSCFG", .file = GRUB_DEFAULT };
	char *text = boot_read(GRUB_DEFAULT);
	struct shellvars *vars = source_files(&boot, text);
	const char *value = shellvars_get(vars, "GRUB_ENABLE_BLSCFG");
	bool has = value && !strcmp(value, "true");

	/* Images of Fedora and alike can be without the file, and have entries. */
	if (value && !*value && (exists("/usr/sbin/grubby") || exists("/usr/bin/grubby")))
		has = any_file("/boot/loader/entries", ".conf");
	if (shellvars_unknown(vars))
		has = exists("/boot/loader/entries");
	shellvars_free(vars);
	free(text);
	return has;
}

static const char *grub_command(const char *mkconfig)
{
	if (exists("/etc/kernel/proxmox-boot-uuids"))
		return "proxmox-boot-tool refresh";
	if (exists("/usr/sbin/update-grub") || exists("/usr/bin/update-grub"))
		return "update-grub";
	return strstr(mkconfig, "grub2") ? "grub2-mkconfig -o /boot/grub2/grub.cfg" :
					   "grub-mkconfig -o /boot/grub/grub.cfg";
}

static void use_grub(struct boot *boot)
{
	const char *mkconfig = grub_mkconfig();
	char *script = mkconfig ? boot_read(mkconfig) : NULL;

	if (grub_has_entries()) {
		boot->advice = xstrdup("GRUB takes the line from its entries (GRUB_ENABLE_BLSCFG); run:\n"
				       "  grubby --update-kernel=ALL --remove-args=\"kho guestmemfs\"\n"
				       "  grubby --update-kernel=ALL --args=\"%s\"");
	} else if (is_distribution("suse")) {
		boot->advice = xstrdup("take kho= and guestmemfs= out of " GRUB_DEFAULT
				       " if they are there, and run, for each of %s:\n"
				       "  update-bootloader --add-option PARAMETER\n"
				       "and then: update-bootloader --config");
	} else if (!script) {
		boot->advice = xstrdup("grub-mkconfig is not found, so the files that it reads are not known: add %s"
				       " where GRUB gets its command line from");
	} else if (strstr(script, "default/grub.d")) {
		use_shell(boot, "/etc/default/grub.d/zz-guestmemfs.cfg", GRUB_DEFAULT,
			  "/etc/default/grub.d", ".cfg");
	} else {
		/* A file of our own would not be read. */
		use_shell(boot, GRUB_DEFAULT, NULL, NULL, NULL);
	}
	use_grub_variables(boot);
	boot->then = mkconfig ? grub_command(mkconfig) : NULL;
	free(script);
}

/* Does dracut make unified kernel images? They have the line of its configuration. */
static bool dracut_makes_uki(bool *has_line)
{
	struct boot boot = {
		.interest = "uefi", .file = "/etc/dracut.conf.d/zz-guestmemfs.conf",
		.main = "/etc/dracut.conf", .dir = "/etc/dracut.conf.d", .suffix = ".conf",
	};
	char *text = boot_read(boot.file);
	struct shellvars *vars = source_files(&boot, text);
	const char *uefi = shellvars_get(vars, "uefi");
	const char *line = shellvars_get(vars, "kernel_cmdline");
	bool makes = uefi && !strcmp(uefi, "yes");

	*has_line = !line || *line;
	shellvars_free(vars);
	free(text);
	return makes;
}

static void use_dracut(struct boot *boot, bool has_line)
{
	boot->variable = "kernel_cmdline";
	boot->interest = boot->variable;
	boot->then = "dracut --force --regenerate-all";
	if (has_line)
		use_shell(boot, "/etc/dracut.conf.d/zz-guestmemfs.conf", "/etc/dracut.conf",
			  "/etc/dracut.conf.d", ".conf");
	else
		boot->advice = xstrdup("dracut makes unified kernel images and has no kernel_cmdline= of its own:"
				       " set it in /etc/dracut.conf.d/ to the whole line, with %s");
}

static void use_lines(struct boot *boot, const char *file, const char *dir, const char *suffix,
		      const char *then)
{
	boot->form = FORM_LINES;
	boot->file = file;
	boot->dir = dir;
	boot->suffix = suffix;
	boot->then = then;
}

/* Entries in whose name is neither the machine's id nor its token are not kernel-install's. */
static bool entries_by_hand(void)
{
	static const char * const dirs[] = {
		"/boot/loader/entries", "/efi/loader/entries", "/boot/efi/loader/entries",
	};
	char *id = read_text("/etc/machine-id"), *token = read_text("/etc/kernel/entry-token");
	bool own = false, other = false;
	size_t i, n;

	for (i = 0; i < ARRAY_SIZE(dirs); i++) {
		char **names = boot_list(dirs[i], ".conf");

		for (n = 0; names[n]; n++) {
			const char *base = strrchr(names[n], '/') + 1;

			if ((id && *id && !strncmp(base, id, strlen(id))) ||
			    (token && *token && !strncmp(base, token, strlen(token))))
				own = true;
			else
				other = true;
		}
		free_strings(names);
	}
	free(id);
	free(token);
	return other && !own;
}

static void use_kernel_cmdline(struct boot *boot)
{
	boot->form = FORM_LINE;
	boot->file = CMDLINE_FILE;
	boot->first_copy[0] = "/usr/lib/kernel/cmdline";
	boot->first_copy[1] = "/proc/cmdline";
	boot->then = "kernel-install add $(uname -r) /boot/vmlinuz-$(uname -r)";
	if (exists("/etc/kernel/proxmox-boot-uuids")) {
		boot->one_line = true;
		boot->then = "proxmox-boot-tool refresh";
	} else if (any_file_has("/etc/mkinitcpio.d", ".preset", "\ndefault_uki=")) {
		boot->then = "mkinitcpio -P";
	} else if (exists("/usr/bin/sdbootutil")) {
		boot->then = "sdbootutil update-all-entries";
	}
}

static void use_systemd_boot(struct boot *boot)
{
	bool has_line;

	if (any_file_has("/etc/kernel/cmdline.d", ".cfg", "CMDLINE_LINUX=")) {
		/* A hook for new kernels makes /etc/kernel/cmdline of these. */
		use_shell(boot, "/etc/kernel/cmdline.d/zz-guestmemfs.cfg", NULL,
			  "/etc/kernel/cmdline.d", ".cfg");
		boot->variable = "CMDLINE_LINUX";
		boot->interest = boot->variable;
		boot->then = "dpkg-reconfigure linux-image-$(uname -r)";
	} else if (any_file("/etc/kernel/cmdline.d", ".conf") &&
		   exists("/usr/bin/clr-boot-manager")) {
		use_lines(boot, "/etc/kernel/cmdline.d/zz-guestmemfs.conf",
			  "/etc/kernel/cmdline.d", ".conf", "clr-boot-manager update");
	} else if (any_file("/etc/cmdline.d", ".conf") && exists("/etc/mkinitcpio.conf")) {
		use_lines(boot, "/etc/cmdline.d/zz-guestmemfs.conf", "/etc/cmdline.d", ".conf",
			  "mkinitcpio -P");
	} else if (dracut_makes_uki(&has_line)) {
		use_dracut(boot, has_line);
	} else if (exists(CMDLINE_FILE)) {
		use_kernel_cmdline(boot);
	} else if (any_file("/etc/kernel/cmdline.d", "") || any_file("/etc/cmdline.d", ".conf")) {
		boot->advice = xstrdup("which program reads the files of a directory cmdline.d here is not known:"
				       " add %s to a file there if the kernel's line comes from them");
	} else if (entries_by_hand()) {
		boot->advice = xstrdup("the entries in loader/entries are not made by kernel-install:"
				       " add to the line \"options\" of each: %s");
	} else {
		use_kernel_cmdline(boot);
	}
}

/* Each deployment has a line of its own there, which is that of the one before. */
static bool is_ostree(void)
{
	return exists("/run/ostree-booted") || exists("/ostree/repo");
}

static void use_ostree(struct boot *boot)
{
	const char *command = exists("/usr/bin/rpm-ostree") ? "rpm-ostree kargs" :
							      "ostree admin kargs edit-in-place";

	boot->found = xstrdup("boot loader: OSTree makes its entries");
	boot->advice_has_kho = true;
	boot->advice = xasprintf("OSTree has the command line with each deployment; take kho= and guestmemfs= out of it if they are there, and add to it:\n"
				 "  %s --append=kho=on --append=%%s", command);
}

/* It makes the files of any boot loader from its configuration, at each change of that. */
static void use_nixos(struct boot *boot)
{
	boot->found = xstrdup("boot loader: NixOS makes its files");
	boot->advice = xstrdup("add to boot.kernelParams of the configuration, each in quotes,"
			       " and run nixos-rebuild boot: %s");
}

struct boot *boot_find(enum boot_loader loader)
{
	struct boot *boot = xcalloc(1, sizeof(*boot));
	char *how;

	if (is_ostree()) {
		use_ostree(boot);
		return boot;
	}
	if (exists("/etc/NIXOS")) {
		use_nixos(boot);
		return boot;
	}
	loader = find_loader(loader, &how);
	if (loader == LOADER_GRUB)
		use_grub(boot);
	else if (loader == LOADER_SYSTEMD)
		use_systemd_boot(boot);
	else
		boot->advice = xstrdup("add to the kernel's command line: %s");
	boot->found = loader == LOADER_ANY ? xasprintf("boot loader: not known: %s", how) :
		      xasprintf("boot loader: %s: %s",
				loader == LOADER_GRUB ? "GRUB" : "systemd-boot or alike", how);
	free(how);
	return boot;
}

void boot_free(struct boot *boot)
{
	free(boot->found);
	free(boot->advice);
	free(boot);
}

/* --- words of a line --- */

/* A growing text. */
struct buffer {
	char *text;
	size_t len;
};

static void buffer_add(struct buffer *buffer, const char *text, size_t len)
{
	buffer->text = xrealloc(buffer->text, buffer->len + len + 1);
	memcpy(buffer->text + buffer->len, text, len);
	buffer->len += len;
	buffer->text[buffer->len] = '\0';
}

/*
 * A line without words of ours, and those of a boot loader if asked for; anything else
 * stays as it is. *end is where "--" is in it, or the end of what is no blank.
 */
static char *strip_line(const char *line, size_t len, bool loaders, size_t *end, bool *ended)
{
	char *copy = xasprintf("%.*s", (int)len, line);
	struct buffer kept = { };
	const char *at = copy, *done = copy;
	struct kcmdline_word word;

	buffer_add(&kept, "", 0);
	while (!*ended && kcmdline_next_word(&at, &word)) {
		*ended = word.ends_line;
		if (!word.ours && !(loaders && word.loaders)) {
			/* With the blanks in front of it, but of a word that comes to the front. */
			if (!kept.len && done != copy)
				done = word.start;
			buffer_add(&kept, done, (*ended ? word.start : at) - done);
			*end = kept.len;
			if (*ended)
				buffer_add(&kept, word.start, word.length);
		}
		done = at;
	}
	buffer_add(&kept, done, strlen(done));
	free(copy);
	return kept.text;
}

struct line_edit {
	struct buffer out;
	size_t place;		/* for our words */
	bool found;		/* there is such a place */
	bool ended;		/* by "--" */
};

static void edit_line(struct line_edit *edit, const char *line, size_t len, bool loaders)
{
	size_t end = 0;
	bool ended_before = edit->ended;
	char *kept = strip_line(line, len, loaders, &end, &edit->ended);
	size_t left = strspn(kept, " \t\r\n");

	if (!ended_before && (end || edit->ended)) {
		edit->place = edit->out.len + end;
		edit->found = true;
	}
	/* A line that has had nothing but our words goes. */
	if (kept[left] || strspn(line, " \t\r\n") >= len)
		buffer_add(&edit->out, kept, strlen(kept));
	free(kept);
}

/* The text of a file of words, with our words at the end of those that count. */
static char *edit_text(const char *old, const char *words, bool one_line, bool loaders)
{
	struct line_edit edit = { };
	const char *at, *next;
	char *text;
	size_t gap;

	buffer_add(&edit.out, "", 0);
	for (at = old; *at; at = next) {
		next = strchrnul(at, '\n');
		next += !!*next;
		if (*at == '#' || (one_line && at != old))
			buffer_add(&edit.out, at, next - at);
		else
			edit_line(&edit, at, next - at, loaders);
	}
	if (!*words)
		return edit.out.text;
	if (!edit.found) {
		text = xasprintf("%s%s%s\n", edit.out.text, edit.out.len &&
				 edit.out.text[edit.out.len - 1] != '\n' ? "\n" : "", words);
	} else {
		gap = edit.place && !strchr(" \t\n", edit.out.text[edit.place - 1]);
		text = xasprintf("%.*s%s%s%s%s", (int)edit.place, edit.out.text, gap ? " " : "",
				 words, edit.ended ? " " : "", edit.out.text + edit.place);
	}
	free(edit.out.text);
	return text;
}

/* Words of a file as one line, with comments or without them. */
static char *as_line(const char *text, bool one_line, bool comments)
{
	struct buffer line = { };
	const char *at, *next;

	buffer_add(&line, "", 0);
	for (at = text; *at; at = next + !!*next) {
		next = strchrnul(at, '\n');
		if (*at != '#' || comments) {
			buffer_add(&line, at, next - at);
			buffer_add(&line, " ", 1);
		}
		if (one_line)
			break;
	}
	while (line.len && line.text[line.len - 1] == ' ')
		line.text[--line.len] = '\0';
	return line.text;
}

/* --- what a file is to be, and what line comes of it --- */

/* The shell file without what an earlier run has added to it. */
static char *without_our_assignment(const char *old)
{
	const char *start = strstr(old, OUR_COMMENT), *end;

	if (!start)
		return xstrdup(old);
	end = strchrnul(start + strlen(OUR_COMMENT), '\n');
	end += !!*end;
	return xasprintf("%.*s%s", (int)(start - old), old, end);
}

/* Whether there is nothing in a file but what is ours. */
static bool is_ours(const struct boot *boot, const char *text)
{
	char *rest = boot->form == FORM_SHELL ? without_our_assignment(text) :
						edit_text(text, "", false, false);
	bool ours = !rest[strspn(rest, " \t\r\n")];

	free(rest);
	return ours;
}

static char *shell_text(const struct boot *boot, const char *old, const char *words)
{
	char *rest = without_our_assignment(old), *text;

	text = *words ? xasprintf("%s%s" OUR_COMMENT "%s=\"$%s %s\"\n", rest,
				  *rest && rest[strlen(rest) - 1] != '\n' ? "\n" : "",
				  boot->variable, boot->variable, words) : xstrdup(rest);
	free(rest);
	return text;
}

/* What is in the file, or would be if it were made now; *there: it is. */
static char *old_text(const struct boot *boot, bool *there, bool *loaders)
{
	char *old = boot_read(boot->file);
	size_t i;

	*there = old;
	*loaders = false;
	for (i = 0; !old && i < ARRAY_SIZE(boot->first_copy) && boot->first_copy[i]; i++) {
		old = boot_read(boot->first_copy[i]);
		*loaders = old && !strncmp(boot->first_copy[i], "/proc/", 6);
	}
	return old ? old : xstrdup("");
}

static char *new_text(const struct boot *boot, const char *words)
{
	bool there, loaders;
	char *old = old_text(boot, &there, &loaders), *text;

	text = boot->form == FORM_SHELL ? shell_text(boot, old, words) :
					  edit_text(old, words, boot->one_line, loaders);
	free(old);
	return text;
}

/* The words of all files of the directory, with @ours in place of ours. */
static char *lines_of_files(const struct boot *boot, const char *ours, bool comments)
{
	char **names = boot_list(boot->dir, boot->suffix);
	char *all = xstrdup(""), *text, *line;
	bool done = false;
	size_t i;

	for (i = 0; names[i] || !done; i++) {
		if (!names[i] || (!done && strcmp(names[i], boot->file) > 0)) {
			line = as_line(ours, false, comments);
			done = true;
			all = join(all, " ", line);
			free(line);
			if (!names[i])
				break;
		}
		if (!strcmp(names[i], boot->file))
			continue;
		text = boot_read(names[i]);
		line = as_line(text ? text : "", false, comments);
		all = join(all, " ", line);
		free(line);
		free(text);
	}
	free_strings(names);
	return all;
}

/*
 * The line that comes of the files if ours has this text, or NULL. Some programs leave
 * comments out, others do not.
 */
static char *line_of(const struct boot *boot, const char *text, bool comments, char **why)
{
	struct shellvars *vars;
	const char *value, *before;
	char *line = NULL;

	if (boot->form == FORM_LINE)
		return as_line(text, boot->one_line, comments);
	if (boot->form == FORM_LINES)
		return lines_of_files(boot, text, comments);
	vars = source_files(boot, text);
	value = shellvars_get(vars, boot->variable);
	before = boot->before ? shellvars_get(vars, boot->before) : "";
	if (value && before && !shellvars_unknown(vars))
		line = xasprintf("%s%s%s", before, *before ? " " : "", value);
	else if (why)
		*why = xstrdup(shellvars_unknown(vars) ? shellvars_unknown(vars) : boot->variable);
	shellvars_free(vars);
	return line;
}

char *boot_line(const struct boot *boot)
{
	char *text, *line;

	if (boot->form == FORM_UNKNOWN)
		return NULL;
	text = new_text(boot, "");
	line = line_of(boot, text, false, NULL);
	free(text);
	return line;
}

/* --- changing it --- */

/* A file without a name that has the text and is read from its start; -1 if there is none. */
static int text_fd(const char *text)
{
	size_t len = strlen(text);
	int fd = memfd_create("gmfs-numa", MFD_CLOEXEC);

	if (fd >= 0 && (write(fd, text, len) != (ssize_t)len || lseek(fd, 0, SEEK_SET))) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* Of what was read, not of the path: diff would follow links out of --sysroot. */
static void print_diff(const char *path, const char *old, const char *text)
{
	int from = text_fd(old), to = text_fd(text), status;
	char *from_path = xasprintf("/proc/self/fd/%d", from);
	pid_t pid = -1;

	fflush(stdout);
	if (from >= 0 && to >= 0)
		pid = fork();
	if (!pid) {
		if (!fcntl(from, F_SETFD, 0) && dup2(to, STDIN_FILENO) >= 0)
			execlp("diff", "diff", "-u", "--label", path, "--label", path, from_path,
			       "-", NULL);
		_exit(127);
	}
	if (from >= 0)
		close(from);
	if (to >= 0)
		close(to);
	free(from_path);
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFEXITED(status) ||
	    WEXITSTATUS(status) > 1) {
		warning("diff cannot be run; %s would be:", path);
		fputs(text, stderr);
	}
}

/* A name in a directory that was looked up below --sysroot. */
struct spot {
	int dir;
	char *name;
	char *shown;		/* its path, for messages */
};

static void spot_free(struct spot *spot)
{
	close(spot->dir);
	free(spot->name);
	free(spot->shown);
}

/* The last name of a path is not followed. */
static void spot_find(struct spot *spot, const char *path)
{
	char *dir;

	path_split(path, &dir, &spot->name);
	spot->shown = xasprintf("%s%s", sysroot, path);
	spot->dir = root_open(dir, O_PATH | O_DIRECTORY);
	if (spot->dir < 0)
		fatal(EX_FAILED, "%s%s: %s", sysroot, dir, strerror(errno));
	free(dir);
}

/* As many symbolic links as the kernel follows. */
#define MAX_LINKS	40

/* What a path leads to, so that a symbolic link stays one. */
static void spot_follow(struct spot *spot, const char *path)
{
	char *at = xstrdup(path), *dir, *name, link[PATH_MAX];
	unsigned int links;
	ssize_t len;

	for (links = 0; links <= MAX_LINKS; links++) {
		spot_find(spot, at);
		len = readlinkat(spot->dir, spot->name, link, sizeof(link) - 1);
		if (len < 0)
			break;
		link[len] = '\0';
		spot_free(spot);
		path_split(at, &dir, &name);
		free(at);
		at = *link == '/' ? xstrdup(link) : xasprintf("%s/%s", dir, link);
		free(dir);
		free(name);
	}
	if (links > MAX_LINKS)
		fatal(EX_FAILED, "%s%s: %s", sysroot, path, strerror(ELOOP));
	free(at);
}

/* Is there a file? Anything else is neither replaced nor kept. */
static bool spot_stat(const struct spot *spot, struct stat *st)
{
	if (fstatat(spot->dir, spot->name, st, AT_SYMLINK_NOFOLLOW)) {
		if (errno != ENOENT)
			fatal(EX_FAILED, "%s: %s", spot->shown, strerror(errno));
		return false;
	}
	if (!S_ISREG(st->st_mode))
		fatal(EX_FAILED, "%s is no regular file: no file is changed", spot->shown);
	return true;
}

static void write_file(const struct spot *spot, const char *text, const struct stat *like)
{
	char *path = xasprintf("/proc/self/fd/%d/%s", spot->dir, spot->name);
	struct replacement r;

	replace_begin(&r, path, spot->shown);
	r.like = like;
	fputs(text, r.out);
	replace_end(&r);
	free(path);
}

static void make_directory_of(const char *path)
{
	struct spot spot;
	char *dir, *name;

	path_split(path, &dir, &name);
	spot_find(&spot, dir);
	if (mkdirat(spot.dir, spot.name, 0755) && errno != EEXIST)
		fatal(EX_FAILED, "%s: %s", spot.shown, strerror(errno));
	spot_free(&spot);
	free(dir);
	free(name);
}

/* The first backup is the administrator's file, and the only one of worth. */
static void keep_backup(const struct boot *boot, const char *old, const struct stat *like)
{
	char *path = xasprintf("%s" BACKUP, boot->file);
	struct spot spot;
	struct stat st;

	spot_find(&spot, path);
	if (spot_stat(&spot, &st)) {
		printf("%s stays as it is, from an earlier change\n", spot.shown);
	} else {
		write_file(&spot, old, like);
		printf("%s%s is kept as %s\n", sysroot, boot->file, spot.shown);
	}
	spot_free(&spot);
	free(path);
}

static void change_file(const struct boot *boot, const char *old, const char *text)
{
	struct spot target;
	struct stat st;
	bool there;

	make_directory_of(boot->file);
	spot_follow(&target, boot->file);
	there = spot_stat(&target, &st);
	if (there != !!old)
		fatal(EX_FAILED, "%s has changed since it was read: no file is changed",
		      target.shown);
	if (old && !is_ours(boot, old))
		keep_backup(boot, old, &st);
	write_file(&target, text, there ? &st : NULL);
	printf("written: %s%s; now run %s, and boot\n", sysroot, boot->file,
	       boot->then ? boot->then : "what makes it count");
	spot_free(&target);
}

/* Why the kernel would not make these pools of the line, or NULL if it would. */
static char *line_fault(const char *line, const char *parameter)
{
	char *pools = kcmdline_pools(line), *fault = NULL;
	size_t len = strlen(line) + LOADER_ADDS;

	if (len >= KCMDLINE_SIZE)
		fault = xasprintf("it has %zu bytes, with %d for what the boot loader adds, and the kernel reads %d: it would drop the end",
				  len, LOADER_ADDS, KCMDLINE_SIZE - 1);
	else if (strchr(line, '\n'))
		fault = xstrdup("it has a line break, at which the boot loader ends the command line: take it out");
	else if (!pools)
		fault = xstrdup("guestmemfs= is not in it");
	else if (strcmp(pools, strchr(parameter, '=') + 1))
		fault = xasprintf("the kernel adds all guestmemfs= of it together to guestmemfs=%s, of which the first counts for a node",
				  pools);
	else if (kcmdline_says_kho(line) != 1)
		fault = xstrdup("kho= does not switch KHO on");
	free(pools);
	return fault;
}

/* A parameter of ours in a line of a file that is no comment, as it stands there, or NULL. */
static char *word_by_hand(const char *line)
{
	static const char * const names[] = { "guestmemfs=", "kho=" };
	const char *found, *first = NULL;
	size_t i;

	if (line[strspn(line, " \t")] == '#')
		return NULL;
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		found = strstr(line, names[i]);
		/* "kho_scratch=" and "xkho=" are others. */
		if (found && (found == line || !isalnum((unsigned char)found[-1])) &&
		    (!first || found < first))
			first = found;
	}
	return first ? xasprintf("%.*s", (int)strcspn(first, " \t\"'\\;"), first) : NULL;
}

/* Says of each line of a file what is to be taken out of it. False if there is nothing. */
static bool name_words(const char *name, const char *text)
{
	char *copy = xstrdup(text), *rest = copy, *line, *word;
	unsigned int number = 0;
	bool any = false;

	while ((line = strsep(&rest, "\n"))) {
		number++;
		word = word_by_hand(line);
		if (word)
			warning("%s%s:%u: remove %s from this line, which this tool has not written",
				sysroot, name, number, word);
		any |= !!word;
		free(word);
	}
	free(copy);
	return any;
}

/* Names the words that are in the way, in our file and in the other files there. */
static void name_others(const struct boot *boot)
{
	char **names = boot->dir ? boot_list(boot->dir, boot->suffix) : xcalloc(1, sizeof(*names));
	const char *name = boot->main ? boot->main : boot->file;
	size_t i;

	for (i = 0; name || names[i]; name = NULL) {
		const char *one = name ? name : names[i];
		char *text = boot_read(one), *others;

		/* Of a file of words ours are replaced. */
		others = !text || (!strcmp(one, boot->file) && boot->form != FORM_SHELL) ?
			 xstrdup("") : without_our_assignment(text);
		if (!name_words(one, others) && strcmp(one, boot->file) && boot->interest &&
		    strstr(others, boot->interest))
			warning("look at %s%s", sysroot, one);
		free(others);
		free(text);
		i += !name;
	}
	free_strings(names);
}

/* Whether the line that comes of the text has the pools: EX_OK, or says why not. */
static int check_line(const struct boot *boot, const char *text, const char *parameter)
{
	char *fault = NULL, *why = NULL, *line;
	int comments;

	for (comments = 0; comments < 2 && !fault; comments++) {
		line = line_of(boot, text, comments, &why);
		if (!line) {
			warning("no file is written: only a shell can tell the command line of the next boot (%s); add to it: kho=on %s",
				why, parameter);
			free(why);
			return EX_DIFFERS;
		}
		fault = line_fault(line, parameter);
		if (fault) {
			warning("the command line of the next boot%s would be: %s", comments ?
				", as programs have it that know no comments," : "", line);
			warning("no file is written: %s", fault);
			name_others(boot);
		}
		free(line);
	}
	if (!fault)
		return EX_OK;
	free(fault);
	return EX_DIFFERS;
}

int boot_apply(const struct boot *boot, bool dry_run, const char *parameter)
{
	char *words = xasprintf("kho=on %s", parameter), *path, *old, *text;
	bool there, loaders, same;
	int status;

	printf("%s\n", boot->found);
	if (boot->form == FORM_UNKNOWN) {
		char *at = strstr(boot->advice, "%s");

		warning("no file is written:");
		/* As it is: commands to be copied, on lines of their own. */
		fprintf(stderr, "%.*s%s%s\n", (int)(at - boot->advice), boot->advice,
			boot->advice_has_kho ? parameter : words, at + 2);
		free(words);
		return EX_FAILED;
	}
	path = xasprintf("%s%s", sysroot, boot->file);
	old = old_text(boot, &there, &loaders);
	text = new_text(boot, words);
	same = there && !strcmp(old, text);
	if (!same)
		print_diff(path, there ? old : "", text);
	status = check_line(boot, text, parameter);
	if (status == EX_OK && same)
		printf("%s is right as it is\n", path);
	else if (status == EX_OK && !dry_run)
		change_file(boot, there ? old : NULL, text);
	free(text);
	free(old);
	free(path);
	free(words);
	return status;
}
