#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The main job, on this machine, in small: looked at by setup for real, then set up, shown and taken back
# in a directory and with an fstab of the demo's own.
set -eu

# / is an overlay in many containers, and no kernel swaps to a file there
place=
for one in /var/tmp /tmp "$PWD"; do
	case $(stat -f -c %T "$one") in
	overlayfs | tmpfs) ;;
	*) place=$one && break ;;
	esac
done
dir=$(mktemp -d "${place:-/tmp}/ghostctl-demo.XXXXXX")
ghost=$dir/swap0
cleanup() {
	if [ "$(id -u)" -eq 0 ]; then
		ghostctl -q setup --undo --yes "$ghost" >/dev/null 2>&1 || true
	fi
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

echo 'What setup would do on this machine, for real:'
run ghostctl setup --dry-run
if [ "$(id -u)" -ne 0 ]; then
	run ghostctl mkghost -s 64M -L demo "$ghost"
	run ls -ls "$ghost"
	run ghostctl inspect "$ghost"
	run ghostctl verify "$ghost"
	run ghostctl status
	echo
	echo 'Activating needs root: run make demo as root to see the rest.'
	exit 0
fi
lack=
if ! ghostctl -q doctor --require zram 2>/dev/null && ! ghostctl -q doctor --require ghost 2>/dev/null; then
	lack='This kernel has neither ghosts nor zram'
elif [ -z "$place" ]; then
	lack="/var/tmp, /tmp and $PWD are not on a filesystem that can have swap files"
fi
if [ -n "$lack" ]; then
	echo
	echo "$lack: here is what can be done without."
	run ghostctl mkghost -s 64M -L demo "$ghost"
	run ghostctl inspect "$ghost"
	exit 0
fi
echo
echo 'The same in small:'
echo '# an fstab of its own' >"$dir/fstab"
run ghostctl setup "$ghost" --size 64M --yes --fstab "$dir/fstab"
[ $status -eq 0 ] || exit $status
run ls -ls "$ghost"
run ghostctl inspect "$ghost"
run ghostctl status -o +LABEL,BACKEND,GHOST
run ghostctl usage -n 3
run cat "$dir/fstab"
run ghostctl setup "$ghost" --size 64M --yes --fstab "$dir/fstab"
run ghostctl setup --undo --yes "$ghost"
[ $status -eq 0 ] || exit $status
run ghostctl status
