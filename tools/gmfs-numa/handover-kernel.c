// SPDX-License-Identifier: GPL-2.0
/*
 * gmfs-numa handover: the kernel file and its configuration.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gmfs-numa.h"
#include "handover.h"

/*
 * Is it a program for UEFI, with a kernel in its section .linux? head is @len bytes of the
 * file; see the UAPI group's specification of unified kernel images.
 */
static bool is_unified(const unsigned char *head, size_t len)
{
	return len > 2 && !memcmp(head, "MZ", 2) && memmem(head, len, ".linux\0", 8);
}

/*
 * The release that a bzImage says it is, see Documentation/arch/x86/boot.rst. Else NULL, and
 * what the file is.
 */
static char *kernel_release(const char *path, const char **what)
{
	unsigned char head[4096];
	int fd = open_regular(path);
	char *text = NULL;
	unsigned int at;
	ssize_t len;

	if (fd < 0)
		fatal(EX_FAILED, "%s: %s", path, read_error());
	len = read(fd, head, sizeof(head));
	if (len >= 0x210 && !memcmp(head + 0x202, "HdrS", 4)) {
		at = (head[0x20e] | head[0x20f] << 8) + 0x200;
		text = xcalloc(1, 129);
		len = pread(fd, text, 128, at);
		text[len > 0 ? strcspn(text, " ") : 0] = '\0';
		if (!*text) {
			free(text);
			text = NULL;
			*what = "is cut short";
		}
	} else if (len > 0 && is_unified(head, len)) {
		*what = "is a unified kernel image: name the kernel that it is made of";
	} else {
		*what = "is no kernel for x86";
	}
	close(fd);
	return text;
}

/* Else what is not in it would be taken for what the kernel does not have. */
static bool is_config(const char *text)
{
	return strstr(text, "CONFIG_");
}

/* A kernel's configuration, where distributions put it, or NULL. */
static char *read_config(const struct handover_arguments *args, const char *release)
{
	static const char * const places[] = {
		"/boot/config-%s", "/lib/modules/%s/config", "/usr/lib/modules/%s/config",
	};
	char *config = NULL;
	size_t i;

	if (args->config) {
		config = read_named(args->config);
		if (!config)
			fatal(EX_FAILED, "%s: %s", args->config, strerror(errno));
		if (!is_config(config))
			fatal(EX_FAILED, "%s is no configuration of a kernel; one that is compressed has to be unpacked first, as by zcat",
			      args->config);
	}
	for (i = 0; !config && i < ARRAY_SIZE(places); i++) {
		config = read_text(places[i], release);
		if (config && !is_config(config)) {
			free(config);
			config = NULL;
		}
	}
	return config;
}

/* Bits of a node's features that the next kernel does not know. */
static uint64_t unknown_features(const struct node *node, const char *config, const char *kind,
				 const char *in_format)
{
	const char *at = strstr(node->format, in_format), *known;
	char *name = xasprintf("GUESTMEM_POOL_%s", kind);

	known = config_value(config, name);
	free(name);
	if (!known || !at)
		return 0;
	return strtoull(at + strlen(in_format), NULL, 0) & ~strtoull(known, NULL, 0);
}

/* The next kernel's Kconfig says what it reads: GUESTMEM_POOL_FORMAT and others. */
static void check_format(const char *config, const struct nodes *nodes)
{
	const char *next = config_value(config, "GUESTMEM_POOL_FORMAT");
	char *ours = read_text("/sys/fs/guestmemfs/version"), *detail, *list = NULL;
	size_t i;

	if (!config_has(config, "GUESTMEM_POOL")) {
		handover_result("format", FAIL, "it has no guestmemfs: all files would be lost");
	} else if (!config_has(config, "GUESTMEMFS_FS")) {
		handover_result("format", FAIL,
				"it has pools, but not the file system: it would keep the memory, unused");
	} else if (!next || !ours) {
		handover_result("format", UNKNOWN, "its configuration does not say which format it reads");
	} else if (strtoul(next, NULL, 10) != strtoul(ours, NULL, 10)) {
		detail = xasprintf("it reads format %lu, and this kernel writes %s: it would keep the memory, unused",
				   strtoul(next, NULL, 10), ours);
		handover_result("format", FAIL, detail);
		free(detail);
	} else {
		for (i = 0; i < nodes->nr; i++) {
			const struct node *node = &nodes->node[i];

			if (unknown_features(node, config, "INCOMPAT", " incompat=") ||
			    unknown_features(node, config, "RO_COMPAT", " ro_compat="))
				list = join_node(list, node->nid);
		}
		if (list) {
			detail = xasprintf("it does not know features of node %s, which it could only read, or keep unused",
					   list);
			handover_result("format", FAIL, detail);
			free(detail);
		} else {
			handover_result("format", OK, "it reads what this kernel writes");
		}
	}
	free(list);
	free(ours);
}

char *handover_check_kernel(const struct handover_arguments *args, const struct nodes *nodes,
			    const char *cmdline)
{
	const char *path = args->exec ? args->exec : args->kernel;
	char *loaded = read_text("/sys/kernel/kexec_loaded");
	char *release, *config, *detail;
	const char *what;

	if (!path) {
		if (loaded && !strcmp(loaded, "1"))
			handover_result("kernel", UNKNOWN,
					"one is loaded; which, and whether by kexec -s, is not known: name it with --kernel");
		else
			handover_result("kernel", FAIL,
					"none is loaded: kexec -s -l KERNEL, or handover --exec KERNEL");
		free(loaded);
		return NULL;
	}
	free(loaded);
	release = kernel_release(path, &what);
	if (!release) {
		detail = xasprintf("%s %s", path, what);
		handover_result("kernel", FAIL, detail);
		free(detail);
		return NULL;
	}
	handover_result("kernel", OK, release);
	config = read_config(args, release);
	if (config)
		check_format(config, nodes);
	else
		handover_result("format", UNKNOWN,
				"its configuration is not in /boot nor with its modules: name it with --config");
	handover_check_command_line(args->append ? args->append : cmdline, config, cmdline);
	handover_check_growth(nodes, args->append ? args->append : cmdline, config);
	free(release);
	return config;
}
