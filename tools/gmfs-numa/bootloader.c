// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel's command line, where boot loaders have it: which one boots this machine.
 *
 * Nothing is executed, as files below --sysroot may be those of another machine.
 */

#include <stdlib.h>
#include <string.h>

#include "bootloader.h"

/* --- which boot loader --- */

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

static bool grub_is_there(void)
{
	return boot_exists(GRUB_DEFAULT) || boot_exists("/etc/default/grub.d") ||
	       boot_grub_mkconfig();
}

static bool systemd_boot_is_there(void)
{
	return boot_exists(CMDLINE_FILE) || boot_exists("/boot/loader/loader.conf") ||
	       boot_exists("/efi/loader/loader.conf") ||
	       boot_exists("/boot/efi/loader/loader.conf") ||
	       boot_any_file("/etc/cmdline.d", ".conf") ||
	       boot_any_file("/etc/kernel/cmdline.d", ".cfg") ||
	       boot_any_file("/etc/kernel/cmdline.d", ".conf");
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
			loader = systemd_boot_is_there() ||
				 boot_exists("/usr/lib/kernel/cmdline") ||
				 boot_exists("/etc/kernel/proxmox-boot-uuids") ?
				 LOADER_SYSTEMD : LOADER_ANY;
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
	char *info = boot_efi_text("LoaderInfo"), *stub = boot_efi_text("StubInfo");
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

/* --- what it is on this machine --- */

/* Each deployment has a line of its own there, which is that of the one before. */
static bool is_ostree(void)
{
	return boot_exists("/run/ostree-booted") || boot_exists("/ostree/repo");
}

static void use_ostree(struct boot *boot)
{
	const char *command = boot_exists("/usr/bin/rpm-ostree") ? "rpm-ostree kargs" :
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
	if (boot_exists("/etc/NIXOS")) {
		use_nixos(boot);
		return boot;
	}
	loader = find_loader(loader, &how);
	if (loader == LOADER_GRUB)
		boot_use_grub(boot, is_distribution("suse"));
	else if (loader == LOADER_SYSTEMD)
		boot_use_systemd_boot(boot);
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
	free(boot->then_text);
	free(boot);
}
