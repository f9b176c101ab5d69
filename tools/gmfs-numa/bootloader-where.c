// SPDX-License-Identifier: GPL-2.0
/*
 * Which files a boot loader, or what makes its files, gets the kernel's command line from.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bootloader.h"

#define PROXMOX_UUIDS	"/etc/kernel/proxmox-boot-uuids"
#define SDBOOTUTIL	"/usr/bin/sdbootutil"
#define DRACUT_VENDOR_DIR	"/usr/lib/dracut/dracut.conf.d"
#define GRUB_VARIABLE	"GRUB_CMDLINE_LINUX_DEFAULT"

/* The file that is written, and the directory of the drop-ins that it is one of, or NULL. */
static void use_files(struct boot *boot, enum boot_form form, const char *file,
		      const char *dir, const char *suffix)
{
	boot->form = form;
	boot->file = file;
	boot->dir = dir;
	boot->suffix = suffix;
}

/* --- GRUB --- */

const char *boot_grub_mkconfig(void)
{
	static const char * const places[] = {
		"/usr/sbin/grub-mkconfig", "/usr/bin/grub-mkconfig",
		"/usr/sbin/grub2-mkconfig", "/usr/bin/grub2-mkconfig",
		"/usr/local/sbin/grub-mkconfig",
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(places); i++)
		if (boot_exists(places[i]))
			return places[i];
	return NULL;
}

static void use_grub_variables(struct boot *boot)
{
	boot->by_grub = true;
	boot->before = "GRUB_CMDLINE_LINUX";
	boot->interest = boot->before;
	boot->variable = GRUB_VARIABLE;
}

/* GRUB_ENABLE_BLSCFG: the entries have lines of their own. */
static bool grub_has_entries(void)
{
	struct boot boot = { .interest = "GRUB_ENABLE_BLSCFG", .file = GRUB_DEFAULT };
	char *text = boot_read(GRUB_DEFAULT);
	struct shellvars *vars = boot_source(&boot, text, SIZE_MAX);
	const char *value = shellvars_get(vars, "GRUB_ENABLE_BLSCFG");
	bool has = value && !strcmp(value, "true");

	/* Images of Fedora and alike can be without the file, and have entries. */
	if (value && !*value && (boot_exists("/usr/sbin/grubby") || boot_exists("/usr/bin/grubby")))
		has = boot_any_file("/boot/loader/entries", ".conf");
	if (shellvars_unknown(vars))
		has = boot_exists("/boot/loader/entries");
	shellvars_free(vars);
	free(text);
	return has;
}

static const char *grub_command(const char *mkconfig)
{
	if (boot_exists(PROXMOX_UUIDS))
		return "proxmox-boot-tool refresh";
	if (boot_exists("/usr/sbin/update-grub") || boot_exists("/usr/bin/update-grub"))
		return "update-grub";
	return strstr(mkconfig, "grub2") ? "grub2-mkconfig -o /boot/grub2/grub.cfg" :
					   "grub-mkconfig -o /boot/grub/grub.cfg";
}

void boot_use_grub(struct boot *boot, bool suse)
{
	const char *mkconfig = boot_grub_mkconfig();
	char *script = mkconfig ? boot_read(mkconfig) : NULL;

	if (grub_has_entries()) {
		boot->advice = xstrdup("GRUB takes the line from its entries (GRUB_ENABLE_BLSCFG); run:\n"
				       "  grubby --update-kernel=ALL --remove-args=\"kho guestmemfs\"\n"
				       "  grubby --update-kernel=ALL --args=\"%s\"");
	} else if (suse) {
		boot->advice = xstrdup("take kho= and guestmemfs= out of " GRUB_DEFAULT
				       " if they are there, and run, for each of %s:\n"
				       "  update-bootloader --add-option PARAMETER\n"
				       "and then: update-bootloader --config");
	} else if (!script) {
		boot->advice = xstrdup("grub-mkconfig is not found, so the files that it reads are not known: add %s"
				       " where GRUB gets its command line from");
	} else if (strstr(script, "default/grub.d")) {
		use_files(boot, FORM_SHELL, "/etc/default/grub.d/zz-guestmemfs.cfg",
			  "/etc/default/grub.d", ".cfg");
		boot->main = GRUB_DEFAULT;
	} else {
		/* A file of our own would not be read. */
		use_files(boot, FORM_SHELL, GRUB_DEFAULT, NULL, NULL);
	}
	use_grub_variables(boot);
	boot->then = mkconfig ? grub_command(mkconfig) : NULL;
	free(script);
}

/* --- systemd-boot and alike, and unified kernel images --- */

/* Does dracut make unified kernel images? They have the line of its configuration. */
static bool dracut_makes_uki(bool *has_line)
{
	struct boot boot = {
		.interest = "uefi", .file = "/etc/dracut.conf.d/zz-guestmemfs.conf",
		.main = "/etc/dracut.conf", .dir = "/etc/dracut.conf.d",
		.vendor_dir = DRACUT_VENDOR_DIR, .suffix = ".conf",
	};
	char *text = boot_read(boot.file);
	struct shellvars *vars = boot_source(&boot, text, SIZE_MAX);
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
	boot->vendor_dir = DRACUT_VENDOR_DIR;
	boot->main = "/etc/dracut.conf";
	if (has_line)
		use_files(boot, FORM_SHELL, "/etc/dracut.conf.d/zz-guestmemfs.conf",
			  "/etc/dracut.conf.d", ".conf");
	else
		boot->advice = xstrdup("dracut makes unified kernel images and has no kernel_cmdline= of its own:"
				       " set it in /etc/dracut.conf.d/ to the whole line, with %s");
}

/* What presets of mkinitcpio say about unified kernel images. */
struct preset {
	bool makes_uki;
	char *where;		/* a line that has another source of the command line, or NULL */
};

/* Does the option of mkinitcpio name anything but CMDLINE_FILE? */
static bool is_other_cmdline(const char *options)
{
	const char *at = strstr(options, "--cmdline");
	size_t len = strlen(CMDLINE_FILE);

	if (strstr(options, "--no-cmdline"))
		return true;
	if (!at)
		return false;
	at += strlen("--cmdline");
	at += strspn(at, " \t='\"");
	return strncmp(at, CMDLINE_FILE, len) || !strchr(" \t'\")", at[len]);
}

/* A line of a preset, which can have any name before "_uki". */
static void read_preset_line(struct preset *preset, const char *name, unsigned int number,
			     const char *line)
{
	const char *value = strchr(line, '=');
	char *variable;

	if (boot_is_comment(line) || !value)
		return;
	variable = xasprintf("_%.*s", (int)(value++ - line), line);
	if (boot_ends_with(variable, "_uki") || boot_ends_with(variable, "_efi_image"))
		preset->makes_uki |= value[strspn(value, "\"' \t\r")];
	if (boot_ends_with(variable, "_options")) {
		preset->makes_uki |= !!strstr(value, "--uki");
		if (!preset->where && is_other_cmdline(value))
			preset->where = xasprintf("%s%s:%u", sysroot, name, number);
	}
	free(variable);
}

static void read_presets(struct preset *preset)
{
	char **names = boot_list("/etc/mkinitcpio.d", ".preset");
	size_t i;

	for (i = 0; names[i]; i++) {
		char *text = boot_read(names[i]), *rest = text, *line;
		unsigned int number = 0;

		while ((line = strsep(&rest, "\n")))
			read_preset_line(preset, names[i], ++number, line);
		free(text);
	}
	free_strings(names);
}

/* Entries in whose name is neither the machine's id nor its token are not kernel-install's. */
static bool entries_are_by_hand(void)
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

/* Do such entries boot this machine, and not a unified kernel image or what programs make? */
static bool has_entries_by_hand(void)
{
	char *stub = boot_efi_text("StubInfo");
	bool is_uki = stub && *stub;

	free(stub);
	return !is_uki && !boot_exists(PROXMOX_UUIDS) && !boot_exists(SDBOOTUTIL) &&
	       entries_are_by_hand();
}

/* The image of a kernel for kernel-install, or NULL. */
static char *kernel_image(const char *version)
{
	static const char * const images[] = { "/usr/lib/modules/%s/vmlinuz", "/boot/vmlinuz-%s" };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(images); i++) {
		const char *at = strstr(images[i], "%s");
		char *image = xasprintf("%.*s%s%s", (int)(at - images[i]), images[i], version,
					at + 2);

		if (boot_exists(image))
			return image;
		free(image);
	}
	return NULL;
}

/*
 * A command for each kernel that is installed: the next boot need not be of the one that
 * runs. @each has the version behind it, and the image if asked for; @between separates.
 */
static char *kernel_commands(const char *first, const char *each, const char *between,
			     bool with_image)
{
	static const char * const starts[] = { "/usr/lib/modules/", "/boot/vmlinuz-" };
	char *all = NULL;
	size_t i, n;

	for (i = 0; i < ARRAY_SIZE(starts); i++) {
		int len = strrchr(starts[i], '/') - starts[i];
		char *dir = xasprintf("%.*s", len, starts[i]);
		char **names = boot_list(dir, "");

		for (n = 0; names[n]; n++) {
			const char *version = names[n] + strlen(starts[i]);
			char *image, *one;

			if (strncmp(names[n], starts[i], strlen(starts[i])) ||
			    version[strspn(version, "0123456789")] != '.' ||
			    boot_ends_with(version, ".old"))
				continue;
			image = kernel_image(version);
			/* Seen with its modules, or these are left of one that is gone. */
			if (image && !strncmp(image, starts[i], strlen(starts[i]))) {
				one = xasprintf("%s%s%s%s", each, version, with_image ? " " : "",
						with_image ? image : "");
				all = all ? join(all, between, one) : xasprintf("%s%s", first, one);
				free(one);
			}
			free(image);
		}
		free_strings(names);
		free(dir);
	}
	return all;
}

static void use_kernel_cmdline(struct boot *boot, const struct preset *preset)
{
	boot->form = FORM_LINE;
	boot->file = CMDLINE_FILE;
	boot->first_copy[0] = "/usr/lib/kernel/cmdline";
	boot->first_copy[1] = "/proc/cmdline";
	if (boot_exists(PROXMOX_UUIDS)) {
		boot->one_line = true;
		boot->then = "proxmox-boot-tool refresh";
	} else if (preset->makes_uki) {
		boot->then = "mkinitcpio -P";
	} else if (boot_exists(SDBOOTUTIL)) {
		boot->then = "sdbootutil update-all-entries";
	} else {
		boot->then_text = kernel_commands("", "kernel-install add ", " && ", true);
		boot->then = boot->then_text ? boot->then_text :
			     "kernel-install add VERSION IMAGE for each kernel";
	}
}

void boot_use_systemd_boot(struct boot *boot)
{
	struct preset preset = { };
	bool by_hand, has_line;

	read_presets(&preset);
	by_hand = !preset.makes_uki && has_entries_by_hand();
	if (boot_any_file_has("/etc/kernel/cmdline.d", ".cfg", "CMDLINE_LINUX=")) {
		/* A hook for new kernels makes /etc/kernel/cmdline of these. */
		use_files(boot, FORM_SHELL, "/etc/kernel/cmdline.d/zz-guestmemfs.cfg",
			  "/etc/kernel/cmdline.d", ".cfg");
		boot->variable = "CMDLINE_LINUX";
		boot->interest = boot->variable;
		boot->then_text = kernel_commands("dpkg-reconfigure ", "linux-image-", " ", false);
		boot->then = boot->then_text ? boot->then_text :
			     "dpkg-reconfigure linux-image-VERSION for each kernel";
	} else if (boot_any_file("/etc/kernel/cmdline.d", ".conf") &&
		   boot_exists("/usr/bin/clr-boot-manager")) {
		use_files(boot, FORM_LINES, "/etc/kernel/cmdline.d/zz-guestmemfs.conf",
			  "/etc/kernel/cmdline.d", ".conf");
		boot->then = "clr-boot-manager update";
	} else if (preset.makes_uki && preset.where) {
		boot->advice = xasprintf("add %%s to the command line that mkinitcpio is told at %s, and run mkinitcpio -P",
					 preset.where);
	} else if (!by_hand && boot_any_file("/etc/cmdline.d", ".conf") &&
		   boot_exists("/etc/mkinitcpio.conf")) {
		use_files(boot, FORM_LINES, "/etc/cmdline.d/zz-guestmemfs.conf",
			  "/etc/cmdline.d", ".conf");
		boot->then = "mkinitcpio -P";
	} else if (dracut_makes_uki(&has_line)) {
		use_dracut(boot, has_line);
	} else if (by_hand) {
		boot->advice = xstrdup("the entries in loader/entries are not made by kernel-install:"
				       " add to the line \"options\" of each: %s");
	} else if (!boot_exists(CMDLINE_FILE) &&
		   (boot_any_file("/etc/kernel/cmdline.d", "") ||
		    boot_any_file("/etc/cmdline.d", ".conf"))) {
		boot->advice = xstrdup("which program reads the files of a directory cmdline.d here is not known:"
				       " add %s to a file there if the kernel's line comes from them");
	} else {
		use_kernel_cmdline(boot, &preset);
	}
	free(preset.where);
}
