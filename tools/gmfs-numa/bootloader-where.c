// SPDX-License-Identifier: GPL-2.0
/*
 * Which files a boot loader, or what makes its files, gets the kernel's command line from.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bootloader.h"

#define GRUB_VARIABLE	"GRUB_CMDLINE_LINUX_DEFAULT"

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
	if (boot_exists("/etc/kernel/proxmox-boot-uuids"))
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

/* --- systemd-boot and alike, and unified kernel images --- */

/* Does dracut make unified kernel images? They have the line of its configuration. */
static bool dracut_makes_uki(bool *has_line)
{
	struct boot boot = {
		.interest = "uefi", .file = "/etc/dracut.conf.d/zz-guestmemfs.conf",
		.main = "/etc/dracut.conf", .dir = "/etc/dracut.conf.d", .suffix = ".conf",
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
	if (boot_exists("/etc/kernel/proxmox-boot-uuids")) {
		boot->one_line = true;
		boot->then = "proxmox-boot-tool refresh";
	} else if (boot_any_file_has("/etc/mkinitcpio.d", ".preset", "\ndefault_uki=")) {
		boot->then = "mkinitcpio -P";
	} else if (boot_exists("/usr/bin/sdbootutil")) {
		boot->then = "sdbootutil update-all-entries";
	}
}

void boot_use_systemd_boot(struct boot *boot)
{
	bool has_line;

	if (boot_any_file_has("/etc/kernel/cmdline.d", ".cfg", "CMDLINE_LINUX=")) {
		/* A hook for new kernels makes /etc/kernel/cmdline of these. */
		use_shell(boot, "/etc/kernel/cmdline.d/zz-guestmemfs.cfg", NULL,
			  "/etc/kernel/cmdline.d", ".cfg");
		boot->variable = "CMDLINE_LINUX";
		boot->interest = boot->variable;
		boot->then = "dpkg-reconfigure linux-image-$(uname -r)";
	} else if (boot_any_file("/etc/kernel/cmdline.d", ".conf") &&
		   boot_exists("/usr/bin/clr-boot-manager")) {
		use_lines(boot, "/etc/kernel/cmdline.d/zz-guestmemfs.conf",
			  "/etc/kernel/cmdline.d", ".conf", "clr-boot-manager update");
	} else if (boot_any_file("/etc/cmdline.d", ".conf") && boot_exists("/etc/mkinitcpio.conf")) {
		use_lines(boot, "/etc/cmdline.d/zz-guestmemfs.conf", "/etc/cmdline.d", ".conf",
			  "mkinitcpio -P");
	} else if (dracut_makes_uki(&has_line)) {
		use_dracut(boot, has_line);
	} else if (boot_exists(CMDLINE_FILE)) {
		use_kernel_cmdline(boot);
	} else if (boot_any_file("/etc/kernel/cmdline.d", "") || boot_any_file("/etc/cmdline.d", ".conf")) {
		boot->advice = xstrdup("which program reads the files of a directory cmdline.d here is not known:"
				       " add %s to a file there if the kernel's line comes from them");
	} else if (entries_by_hand()) {
		boot->advice = xstrdup("the entries in loader/entries are not made by kernel-install:"
				       " add to the line \"options\" of each: %s");
	} else {
		use_kernel_cmdline(boot);
	}
}
