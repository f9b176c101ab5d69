# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Output of the demonstrations.

say_width=76

if [ -t 1 ]; then
	bold=$(printf '\033[1m') plain=$(printf '\033[0m')
else
	bold='' plain=''
fi
# In the machine, there is no terminal to check.
bold=${DEMO_BOLD-$bold} plain=${DEMO_PLAIN-$plain}

heading() {
	printf '\n%s== %s%s\n\n' "$bold" "$*" "$plain"
}

say() {
	fold -s -w "$say_width" <<< "$*" | sed 's/ *$//'
	echo
}

show() {
	sed 's/^/    /'
}

# run COMMAND...: show a command and its output; exit if it fails
run() {
	local shown=${*//"$bin/"/}
	printf '    %s# %s%s\n' "$bold" "$shown" "$plain"
	"$@" 2>&1 | show
}

fail() {
	printf '\nguestmemfs: demo FAILED: %s\n' "$*"
	exit 1
}
trap 'fail "line $LINENO: $BASH_COMMAND"' ERR
