// SPDX-License-Identifier: GPL-2.0
/*
 * gmfs-numa tag: owners of files.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gmfs-numa.h"

/* Text that others have written must not break a line. */
static void show_tag(const char *name, const char *value)
{
	char *shown = printable(value ? value : "");

	printf("%s=%s\n", name, shown);
	free(shown);
}

static int show_tags(const char *path, int fd)
{
	struct tags tags;

	tags_read(&tags, fd);
	if (tags.err)
		fatal(EX_FAILED, "%s: %s", path, strerror(-tags.err));
	show_tag("owner", tags.owner);
	show_tag("vmm", tags.vmm);
	show_tag("since", tags.since);
	tags_free(&tags);
	return EX_OK;
}

int cmd_tag(int argc, char **argv)
{
	static const struct argp argp = { NULL, NULL, "FILE [owner=ID] [vmm=NAME]",
		"Show the owner of a file, or set it: ID is the UUID of a virtual machine, or"
		" pid:NUMBER for a process. An empty value removes the tag.", NULL, NULL, NULL };
	const char *path, *owner = NULL, *vmm = NULL;
	int first, arg, fd, nid, err = 0;

	parse_args(&argp, argc, argv, &first, NULL);
	if (first == argc)
		fatal(EX_USAGE, "tag needs a file");
	path = argv[first];
	for (arg = first + 1; arg < argc; arg++) {
		if (!strncmp(argv[arg], "owner=", 6))
			owner = argv[arg] + 6;
		else if (!strncmp(argv[arg], "vmm=", 4))
			vmm = argv[arg] + 4;
		else
			fatal(EX_USAGE, "'%s' is not owner=ID or vmm=NAME", argv[arg]);
	}
	tag_check("owner=", owner);
	tag_check("vmm=", vmm);
	if (owner || vmm)
		refuse_sysroot("writing tags");
	fd = file_find(path, &nid);
	if (fd < 0)
		fatal(EX_FAILED, "%s: %s", path, file_open_error());
	if (!owner && !vmm)
		show_tags(path, fd);
	else
		err = tags_write(fd, owner, vmm);
	close(fd);
	if (err)
		fatal(EX_FAILED, "%s: %s", path, strerror(-err));
	return EX_OK;
}
