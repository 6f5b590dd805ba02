#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The main job, on this machine: a ghost made, looked at, activated with what this kernel offers, taken down.
set -eu

dir=$(mktemp -d /var/tmp/ghostctl-demo.XXXXXX)
ghost=$dir/swap0
cleanup() {
	ghostctl -q off "$ghost" 2>/dev/null || true
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

run() {
	printf '\n$ %s\n' "$*"
	status=0
	"$@" || status=$?
	[ $status -eq 0 ] || echo "(exit status $status)"
	return 0
}

run ghostctl mkghost -s 64M -L demo "$ghost"
run ls -ls "$ghost"
run ghostctl inspect "$ghost"
run ghostctl verify "$ghost"
if [ "$(id -u)" -ne 0 ]; then
	run ghostctl status
	echo
	echo 'Activating needs root: run make demo as root to see the rest.'
	exit 0
fi
run ghostctl on "$ghost"
if [ $status -ne 0 ]; then
	fallback=$(ghostctl on --help | grep -o 'zram' | head -n 1 || true)
	if [ -n "$fallback" ]; then
		run ghostctl on --fallback "$fallback" "$ghost"
		[ $status -eq 0 ] || exit $status
	fi
fi
run ghostctl status -o +LABEL,BACKEND,GHOST
if ghostctl -q status "$ghost"; then
	run ghostctl off "$ghost"
	[ $status -eq 0 ] || exit $status
fi
run ghostctl status
