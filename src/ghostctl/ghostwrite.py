# SPDX-License-Identifier: GPL-2.0-or-later
"""The ghost as a file, written: created, relabelled, resized. Every check and use is on one descriptor."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import NamedTuple

from . import atomic, ghostfile, header, kernel, lookup, report, sizes, swaps
from .errors import Busy, Error, NotAGhost
from .ghostfile import File
from .header import Header
from .report import quote

_DAMAGE = frozenset({"version", "nr_badpages", "tag", "crc", "size"})
"""Problems of `ghostfile.verify` after which the rest of a header cannot be believed."""


def refuse_active(file: File) -> None:
    """Raises `Busy` when the file is an active swap area, or is realised by one."""
    if area := lookup.active_area(file, swaps.read()):
        name = f" as {area.name}" if area.name != file.path else ""
        raise Busy(f"is an active swap area{name}", path=file.path, hint=f"ghostctl off {quote(file.path)}")


class Request(NamedTuple):
    """What `create` is asked for."""

    header: Header
    force: bool = False
    """Replace any regular file that is not an active area."""
    if_needed: bool = False
    """Keep a ghost that is as asked for, replace one that is not."""
    keep_uuid: bool = False
    """With `if_needed`: the UUID of an existing ghost is as good as the one in `header`."""
    keep_label: bool = False

    def adopt(self, old: File) -> Request:
        """The same request with the UUID and label that an existing ghost keeps."""
        if not (self.if_needed and old.is_ghost and old.header):
            return self
        wanted = self.header
        if self.keep_uuid:
            wanted = wanted._replace(uuid=old.header.uuid)
        if self.keep_label:
            wanted = wanted._replace(volume_name=old.header.volume_name)
        return self._replace(header=wanted)

    def is_met_by(self, old: File) -> bool:
        """True for a ghost that need not be written: its tag may be of another version, but not damaged."""
        have, wanted = old.header, self.header
        return (
            have is not None
            and old.is_ghost
            and have[:6] == wanted[:6]
            and have.label == wanted.label
            and (not have.has_tag or have.tag.crc == header.crc(have))
            and stat.S_IMODE(old.st.st_mode) == 0o600
            and old.st.st_blocks * 512 >= old.st.st_size
        )

    def may_replace(self, old: File) -> bool:
        """Whether the file may go: it was asked for, or it is a ghost or what is left of one."""
        if self.force:
            return True
        if old.header is not None and old.header.has_foreign_tag:
            return False
        remains = old.st.st_size in sizes.PAGE_SIZES and old.data.startswith(
            header.TAG_MAGIC, header.TAG_OFFSET
        )
        return self.if_needed and (old.is_ghost or remains or old.st.st_size == 0)


def create(
    path: str,
    request: Request,
    *,
    announce: Callable[[Header], None] = lambda _: None,
    unchanged: Callable[[Header], None] = lambda _: None,
    dry_run: bool = False,
) -> bool:
    """Creates the ghost `path`, mode 0600; False when it was there already and `if_needed` left it alone.

    `announce` is called with the header once nothing stands in the way, before anything is written;
    `unchanged` with the one that stays.
    Raises `OSError`, `Error`, `Busy`.
    """
    if os.path.dirname(path) == lookup.GHOST_DIRECTORY and not os.path.isdir(lookup.GHOST_DIRECTORY):
        if dry_run:
            announce(request.header)
            return True
        os.makedirs(lookup.GHOST_DIRECTORY, 0o700, exist_ok=True)
    with atomic.place(path) as place:
        try:
            st = os.stat(place.name, dir_fd=place.dirfd, follow_symlinks=False)
        except FileNotFoundError:
            finish = _finish(path, None)
            exists = False
        else:
            if not stat.S_ISREG(st.st_mode):
                raise Error(f"is {ghostfile.kind_of(st.st_mode)}: not replaced", path=path)
            with ghostfile.look(path, place=place) as old:
                request = request.adopt(old)
                if request.if_needed and _is_fine(request, old):
                    unchanged(old.require_header())
                    return False
                refuse_active(old)
                if not request.may_replace(old):
                    raise Error(f"exists: it is {old.describe()}", path=path, hint="--force replaces it")
                finish = _finish(path, _selinux_type(old.fd))
                exists = True
        if os.fstatvfs(place.dirfd).f_flag & os.ST_RDONLY:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        if not os.access(f"/proc/self/fd/{place.dirfd}", os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        fstype = kernel.filesystem(place.dirfd)
        if kernel.cannot_swap(fstype):
            report.warn(path, f"no kernel swaps to a file on {fstype}", "put ghosts on ext4, xfs or btrfs")
        announce(request.header)
        if not dry_run:
            atomic.write(place, header.pack(request.header), replace=exists, finish=finish)
        return True


def _is_fine(request: Request, old: File) -> bool:
    if request.is_met_by(old):
        return True
    same_size = old.is_ghost and old.header and old.header.size == request.header.size
    if same_size and lookup.active_area(old, swaps.read()):
        report.warn(old.path, "is active and left alone, though it is not quite the ghost asked for")
        return True
    return False


def _selinux_type(fd: int) -> bytes | None:
    try:
        return os.getxattr(fd, "security.selinux")
    except OSError:
        return None


def _finish(path: str, selinux: bytes | None) -> Callable[[int], None]:
    def finish(fd: int) -> None:
        st = os.fstat(fd)
        if (st.st_uid, st.st_gid) != (os.geteuid(), os.getegid()):
            os.fchown(fd, os.geteuid(), os.getegid())
        if not st.st_mode & stat.S_IRUSR:
            os.fchmod(fd, 0o600)  # the umask took away even that
        if selinux is not None:
            os.setxattr(fd, "security.selinux", selinux)
        if st.st_blocks * 512 < st.st_size:
            report.warn(path, "the filesystem has not allocated the whole page: swapon(8) will refuse it")

    return finish


def rewrite(file: File, new: Header) -> None:
    """Writes what differs in the header of a ghost open for writing, in place.

    Label, UUID, last_page and tag share one 512-byte sector, so that even a power cut leaves the old
    header or the new one. An active area makes it fail with ETXTBSY. Raises `OSError`.
    """
    sector = header.pack(new)[header.SECTOR]
    report.trace(f"{file.path}: {len(sector)} bytes written at {header.SECTOR.start}")
    try:
        os.pwrite(file.fd, sector, header.SECTOR.start)
        os.fsync(file.fd)
    except OSError as error:
        error.filename = file.path
        raise


def require_sound_ghost(file: File) -> Header:
    """The header of a ghost that may be changed while it is not active.

    Raises `NotAGhost`, `Busy` for a hibernation image, `Error` for damage.
    """
    have = file.require_header()
    if have.hibernation:
        raise Busy(f"holds a hibernation image ({have.hibernation})", path=file.path)
    if not file.is_ghost:
        raise NotAGhost(f"not a ghost: it is {file.describe()}", path=file.path)
    for problem in ghostfile.verify(file):
        if problem.id in _DAMAGE and problem.severity == "error":
            # a new checksum would hide it
            hint = f"ghostctl verify {quote(file.path)}"
            raise Error(f"is damaged: {problem.message}", path=file.path, hint=hint)
    return have


def resized(file: File, size: int) -> Header:
    """The header of this ghost for `size` bytes, with the rest as it is; nothing is written yet.

    Raises as `require_sound_ghost`, `SizeError`, and `Error` for a tag of a version that this program does
    not know: it could not keep it right.
    """
    have = require_sound_ghost(file)
    if have.has_foreign_tag:
        raise Error(
            f"has a ghost tag of version {have.tag.version}, which this program does not know", path=file.path
        )
    return header.declare(have, sizes.to_pages(size, have.page_size))
