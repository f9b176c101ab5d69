# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Sourced by scripts that build a kernel: with ccache, a new clone or another variant does
# not compile again what this user has compiled before. CCACHE_DISABLE=1 is without.

# ccache_options TOP TREE OUT [CROSS_COMPILE]: sets the array ccache_options to variables for
# kbuild in the absolute directory OUT. The caller reads it.
# shellcheck disable=SC2034
ccache_options() {
	ccache_options=()
	# Clang is for KMSAN alone.
	if [ -n "${LLVM:-}" ] || ! command -v ccache > /dev/null; then
		return
	fi
	# Paths below a clone become relative, so that another clone has the same. The kernel's
	# own -fmacro-prefix-map is for absolute ones.
	export CCACHE_BASEDIR=$1 CCACHE_NOHASHDIR=1
	ccache_options=("CC=ccache ${4:-}gcc" "HOSTCC=ccache gcc"
		"KCPPFLAGS=-fmacro-prefix-map=$(realpath -m --relative-to="$3" "$2")/=")
}
