# SPDX-License-Identifier: GPL-2.0-or-later
"""The ghost as a file, written: created, relabelled, resized. Every check and use is on one descriptor."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from . import areas, atomic, ghostfile, header, kernel, lookup, report, rundir, sizes
from .errors import Busy, Error, NotAGhost, naming
from .ghostfile import File
from .header import Header
from .report import quote

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.ENOMEM})


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
            and _has_form(old, wanted)
            and have.version == wanted.version
            and have.last_page == wanted.last_page
            and have.nr_badpages == wanted.nr_badpages
            and have.uuid == wanted.uuid
            and have.label == wanted.label
            and (not have.has_tag or have.tag.crc == header.crc(have))
        )

    def may_replace(self, old: File) -> bool:
        """Whether the file may go: it was asked for, or it is a ghost or what is left of one."""
        if self.force:
            return True
        if old.header is not None and old.header.has_foreign_tag:
            return False
        # damaged, but nobody else's: a text may have the same word at the same place
        remains = (
            old.st.st_size in sizes.PAGE_SIZES
            and old.data.startswith(header.TAG_MAGIC, header.TAG_OFFSET)
            and not any(old.data[: header.SECTOR.start])
        )
        return self.if_needed and (old.is_ghost or remains or old.st.st_size == 0)

    def may_rewrite(self, old: File) -> bool:
        """Whether the file becomes what was asked for by a new label, UUID or declared size alone."""
        have = old.header
        if have is None or not _has_form(old, self.header):
            return False
        sound = not any(problem.damage for problem in ghostfile.verify(old))
        return sound and have.has_tag == self.header.has_tag and not have.has_foreign_tag


def _has_form(file: File, wanted: Header) -> bool:
    """True for a ghost of this page size and byte order, private and allocated."""
    have = file.header
    return (
        have is not None
        and file.is_ghost
        and have.page_size == wanted.page_size
        and have.byteorder == wanted.byteorder
        and stat.S_IMODE(file.st.st_mode) == 0o600
        and file.allocated >= file.st.st_size
    )


class Made(NamedTuple):
    """What `create` has done."""

    header: Header
    changed: bool
    """False when the file was there already and is left as it was."""


def create(path: str, request: Request, *, dry_run: bool = False) -> Made:
    """Creates the ghost `path`, mode 0600; with `dry_run` only checks that it could.

    Raises `OSError`, `Error`, `Busy`.
    """
    if os.path.dirname(path) == lookup.GHOST_DIRECTORY and not os.path.isdir(lookup.GHOST_DIRECTORY):
        if dry_run:
            return Made(request.header, changed=True)
        atomic.make_directories(lookup.GHOST_DIRECTORY, 0o700)
    with atomic.open_place(path) as place:
        # what is right already is found right without the lock
        with _existing(place) as old:
            if old is not None and (kept := _kept(request, old)):
                return Made(kept, changed=False)
            if dry_run:
                request = _checked(request, old)
                _check_directory(place)
                return Made(request.header, changed=True)
        with atomic.locked(place), _existing(place) as old:
            if old is not None and (kept := _kept(request, old)):
                return Made(kept, changed=False)
            return Made(_write(place, _checked(request, old), old), changed=True)


@contextmanager
def _existing(place: atomic.Place) -> Iterator[File | None]:
    """The file that has the name now. Raises `Error` for what is never replaced."""
    try:
        with naming(place.path):
            st = os.stat(place.name, dir_fd=place.dirfd, follow_symlinks=False)
    except FileNotFoundError:
        yield None
        return
    if not stat.S_ISREG(st.st_mode):
        raise Error(f"is {ghostfile.kind_of(st.st_mode)}: not replaced", path=place.path)
    with ghostfile.look(place.path, place=place) as file:
        yield file


def _kept(request: Request, old: File) -> Header | None:
    """The header of a ghost that is left alone."""
    request = request.adopt(old)
    if not request.if_needed or old.header is None:
        return None
    if request.is_met_by(old):
        return old.header
    if old.is_ghost and old.header.size == request.header.size and areas.active(old):
        report.warn(old.path, "is active and left alone, though it is not quite the ghost asked for")
        return old.header
    return None


def _checked(request: Request, old: File | None) -> Request:
    """The request as it will be carried out. Raises `Busy` and `Error` when the file has to stay."""
    if old is None:
        return request
    areas.refuse_active(old)
    if not request.may_replace(old):
        if request.if_needed and old.header is not None and old.st.st_size >= old.header.size:
            raise NotAGhost(f"exists: it is {old.describe()}, which stays as it is", path=old.path)
        aside = f"mv -n {quote(old.path)} {quote(old.path + '.old')}"
        hint = report.again("mkghost", "--force", otherwise=aside)
        raise Error(f"exists: it is {old.describe()}", path=old.path, hint=hint)
    return request.adopt(old)


def _check_directory(place: atomic.Place) -> None:
    """Raises what a write would raise."""
    _warn_filesystem(place)
    if os.fstatvfs(place.dirfd).f_flag & os.ST_RDONLY:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), place.path)
    if not os.access(".", os.W_OK | os.X_OK, dir_fd=place.dirfd, effective_ids=True):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), place.path)


def _warn_filesystem(place: atomic.Place) -> None:
    if why := kernel.cannot_swap(kernel.filesystem(place.dirfd)):
        report.warn(place.path, why, kernel.ON_ANOTHER_FILESYSTEM)


def _write(place: atomic.Place, request: Request, old: File | None) -> Header:
    _warn_filesystem(place)
    new = request.header
    context = atomic.get_attribute(old.fd, atomic.SELINUX) if old else None

    def finish(fd: int) -> None:
        st = os.fstat(fd)
        if (st.st_uid, st.st_gid) != (os.geteuid(), os.getegid()):
            # a directory with the setgid bit, for example
            os.fchown(fd, os.geteuid(), os.getegid())
        if st.st_mode & 0o600 != 0o600:
            # the umask took away even that
            os.fchmod(fd, 0o600)
        wanted = context or _swapfile_context(fd, place.dirfd)
        if wanted is not None:
            atomic.set_attribute(fd, atomic.SELINUX, wanted, place.path)

    def check(fd: int) -> None:
        st = os.fstat(fd)
        if st.st_blocks * 512 < st.st_size:
            report.warn(
                place.path, "the filesystem has not allocated the whole page: swapon(8) will refuse it"
            )

    try:
        atomic.write(place, header.pack(new), replace=old is not None, finish=finish, check=check)
    except OSError as error:
        if error.errno not in _NO_ROOM or old is None or not request.if_needed:
            raise
        with ghostfile.look(place.path, place=place, write=True) as file:
            if not os.path.samestat(file.st, old.st) or not request.may_rewrite(file):
                raise
            report.trace(f"{place.path}: {error.strerror}: changed in place instead")
            have = file.require_header()
            new = header.declare(have, new.pages)._replace(uuid=new.uuid, volume_name=new.volume_name)
            rewrite(file, new)
    return new


def _swapfile_context(fd: int, dirfd: int) -> bytes | None:
    """The SELinux attribute of a new file with the type of swap files in it, as mkswap(8) gives it."""
    if not kernel.has_selinux():
        return None
    own = atomic.get_attribute(fd, atomic.SELINUX) or atomic.get_attribute(dirfd, atomic.SELINUX)
    # user:role:type:level, where the level has colons, too
    parts = (own or b"").split(b":")
    if len(parts) < 3:
        return None
    return b":".join((*parts[:2], b"swapfile_t", *parts[3:]))


@contextmanager
def opened(path: str) -> Iterator[File]:
    """Opens a file for `rewrite`; meanwhile no other process of root's activates or rewrites it.

    Raises `Busy` and as `ghostfile.look`.
    """
    with naming(path):
        st = os.stat(path)
    with rundir.locked(rundir.lock_name(st), path), ghostfile.look(path, write=True) as file:
        yield file


def rewrite(file: File, new: Header) -> None:
    """Writes what differs in the header of a ghost open for writing, in place.

    Label, UUID, last_page and tag share one 512-byte sector, so that even a power cut leaves the old
    header or the new one. After a failure the one that `file` was opened with is put back. An active area
    makes it fail with ETXTBSY. Raises `OSError`.
    """
    old, sector = file.data[header.SECTOR], header.pack(new)[header.SECTOR]
    report.trace(f"{file.path}: {len(sector)} bytes written at {header.SECTOR.start}")
    try:
        _write_sector(file.fd, sector)
    except OSError as error:
        left = "" if _put_back(file.fd, old) else ", and the old header could not be put back"
        raise OSError(error.errno, f"{error.strerror}{left}", file.path) from None


def _write_sector(fd: int, sector: bytes) -> None:
    done = 0
    while done < len(sector):
        # a limit of the file's size lets a part of it through, and says so only when asked for the rest
        written = os.pwrite(fd, sector[done:], header.SECTOR.start + done)
        if not written:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        done += written
    os.fsync(fd)


def _put_back(fd: int, sector: bytes) -> bool:
    """Whether the sector is again what it was."""
    with suppress(OSError):
        # not the whole of it need have been overwritten, nor be writable
        os.pwrite(fd, sector, header.SECTOR.start)
    with suppress(OSError):
        os.fsync(fd)
    try:
        return os.pread(fd, len(sector), header.SECTOR.start) == sector
    except OSError:
        return False


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
        if problem.damage:
            # a new checksum would hide it
            hint = f"ghostctl verify {quote(file.path)}"
            raise Error(f"is damaged: {problem.message}", path=file.path, hint=hint)
    return have


def _require_known_ghost(file: File) -> Header:
    """As `require_sound_ghost`; raises `Error` for a tag that this program could not keep right."""
    have = require_sound_ghost(file)
    if have.has_foreign_tag:
        raise Error(
            f"has a ghost tag of version {have.tag.version}, which this program does not know", path=file.path
        )
    return have


def resized(file: File, size: int) -> Header:
    """The header of this ghost for `size` bytes, with the rest as it is; nothing is written yet.

    Raises as `require_sound_ghost`, `SizeError`, and `Error` for a tag of a version that this program does
    not know.
    """
    have = _require_known_ghost(file)
    return header.declare(have, sizes.to_pages(size, have.page_size))


def relabelled(file: File, label: bytes | None, uuid: bytes | None) -> Header:
    """The header of this ghost with another label and UUID (None: the same); nothing is written yet.

    Raises as `require_sound_ghost`.
    """
    have = require_sound_ghost(file)
    if label is not None:
        have = have._replace(volume_name=label.ljust(16, b"\0"))
    return have if uuid is None else have._replace(uuid=uuid)


def for_page_size(file: File) -> Header:
    """The header of this ghost for the running kernel's page size and byte order; nothing is written yet.

    Raises as `resized`.
    """
    have, page_size = _require_known_ghost(file), sizes.page_size()
    return header.ghost(
        sizes.to_pages(have.size, page_size),
        page_size,
        uuid=have.uuid,
        label=header.cut_label(have.label),
        bare=have.ghost_version == 0,
    )
