# SPDX-License-Identifier: GPL-2.0-or-later
"""Which area a SPEC is: copies, moved and deleted files, odd names, other paths, and what cannot be told."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import oscalls
import pytest
from machine import AS_NOBODY, active, ghostctl, is_active, require, run, swap_file
from zramdevices import (
    CONTROL,
    LABEL,
    SIZE,
    UUID,
    add_device,
    attribute,
    labelled,
    make_active,
    make_ghost,
    off,
    remove_device,
    set_size,
    status,
)

from ghostctl import (
    activation,
    areas,
    backends,
    errors,
    ghostfile,
    lookup,
    swaps,
    syscalls,
)

NONE = "/dev/null"
"""A fstab without lines."""
OTHER = "7d1c8a52-2f3e-4b60-9a51-5c1f0e2d3b4a"


def swap_on(path: Path) -> Path:
    fd = os.open(path, os.O_RDONLY)
    try:
        syscalls.swapon(fd, str(path))
    finally:
        os.close(fd)
    return path


def find(spec: str | Path, fstab: str | Path = NONE) -> areas.Active:
    return areas.find(str(spec), areas.read(), str(fstab))


def find_below(directory: Path, spec: Path) -> areas.Active:
    """As if no areas were there but those below the directory: others may be any user's ghosts."""
    actives = [one for one in areas.read() if one.area.name.startswith(f"{directory}/")]
    return areas.find(str(spec), actives, NONE)


def active_of(path: str | Path) -> areas.Active | None:
    with ghostfile.look(str(path)) as file:
        return areas.active(file)


def refuses_change(path: Path, name: str | Path | None = None) -> None:
    """No command that would change the file does: it is active, under this name."""
    before = path.read_bytes()
    for command in (
        ("label", "-L", "new", path),
        ("resize", path, "1M"),
        ("mkghost", "--force", "-s", "1M", path),
    ):
        done = ghostctl(*command)
        assert done.returncode == 6, (command, done.stderr)
        assert f"is an active swap area as {name}\n" in done.stderr
        assert f"hint: ghostctl off '{path}'" in done.stderr
    assert path.read_bytes() == before


@contextmanager
def as_nobody() -> Iterator[None]:
    """As a user without rights, as far as files are concerned."""
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


# -- copies, moved and deleted ghosts


def test_a_copy_is_not_the_ghost(ghost: Path) -> None:
    name = make_active(ghost)
    copy = Path(shutil.copy2(ghost, ghost.with_name("copy")))
    done = ghostctl("off", copy)
    assert (done.returncode, done.stderr) == (3, f"ghostctl: {copy}: is not active\n")
    assert ghostctl("status", "-q", copy).returncode == 3
    assert active_of(copy) is None
    assert is_active(name)
    for command in (
        ("label", "-L", LABEL, copy),
        ("resize", copy, "1M"),
        ("mkghost", "-q", "--force", "-s", "1M", copy),
    ):
        done = ghostctl(*command)
        assert (done.returncode, done.stderr) == (0, ""), command
    assert is_active(name)
    off(ghost)


@pytest.mark.parametrize("first", ["ghost", "copy"])
def test_a_copy_beside_its_original(ghost: Path, first: str) -> None:
    """Both can be active; then each path is one of them, and their UUID is neither."""
    name = make_active(ghost)
    copy = Path(shutil.copy2(ghost, ghost.with_name("copy")))
    before = labelled()
    done = ghostctl("on", "--backend", "zram", copy)
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        f"ghostctl: {copy}: warning: has the UUID of {ghost}, which is active: it is a copy",
        f"ghostctl: hint: ghostctl off {copy} && ghostctl label -U random {copy} && "
        f"ghostctl on --backend zram {copy} --if-needed",
    ]
    (other,) = labelled() - before
    assert {area["name"]: area["ghost"] for area in status(ghost, copy)} == {
        name: str(ghost),
        f"/dev/{other}": str(copy),
    }
    done = ghostctl("off", f"UUID={UUID}")
    assert done.returncode == 1
    assert f"is ambiguous: {ghost} and {copy} have it" in done.stderr
    refuses_change(ghost, name)
    went, stays = (ghost, copy) if first == "ghost" else (copy, ghost)
    assert ghostctl("off", went).returncode == 0
    assert ghostctl("off", went).returncode == 3
    assert [area["ghost"] for area in status(stays)] == [str(stays)]
    # now it is one again
    off(f"UUID={UUID}")
    assert labelled() == set()


def test_a_copy_is_not_it_either_while_the_original_is_gone_for_a_moment(ghost: Path) -> None:
    """A moved ghost is known by its UUID, and its copy cannot be told from it; once it is back, it can."""
    make_active(ghost)
    moved = ghost.rename(ghost.with_name("moved"))
    assert active_of(moved) is not None
    shutil.copy2(moved, ghost)
    assert active_of(moved) is None
    assert active_of(ghost) is not None
    off(ghost)


def test_another_uuid_in_its_place(ghost: Path) -> None:
    """A ghost written anew where the old one was is another one, and the old one may be elsewhere."""
    name = make_active(ghost)
    moved = ghost.rename(ghost.with_name("moved"))
    make_ghost(ghost, uid=OTHER)
    assert active_of(ghost) is None
    found = active_of(moved)
    assert found is not None
    assert found.area.name == name
    off(moved)


def test_where_a_ghost_is_now(ghost: Path) -> None:
    name = make_active(ghost)
    moved = ghost.with_name("moved")
    fstab = ghost.with_name("fstab")
    fstab.write_text(f"{moved} none swap noauto 0 0\n")

    def ghost_of() -> str | None:
        actives = areas.read()
        (one,) = (one for one in actives if one.area.name == name)
        return areas.ghost_of(one, actives, str(fstab))

    assert ghost_of() == str(ghost)
    ghost.rename(moved)
    assert ghost_of() == str(moved)
    assert find(f"UUID={UUID}", fstab).area.name == name
    assert find(f"LABEL={LABEL}", fstab).area.name == name
    moved.unlink()
    assert ghost_of() is None
    # only the device has the UUID now
    assert lookup.resolve(f"UUID={UUID}", areas.read(), str(fstab)) == name
    off(f"UUID={UUID}", fstab)


def test_a_ghost_without_uuid_that_moved(ghost: Path) -> None:
    """Nothing tells whose area it is; by its name it can go."""
    make_ghost(ghost, uid=None)
    name = make_active(ghost)
    moved = ghost.rename(ghost.with_name("moved"))
    assert active_of(moved) is None
    with pytest.raises(errors.NotFound, match="is not active"):
        find(moved)
    actives = areas.read()
    (one,) = (one for one in actives if one.area.name == name)
    assert areas.ghost_of(one, actives) is None
    # and by the place that is recorded
    assert find(ghost).area.name == name
    off(name)


def test_a_deleted_ghost_by_the_place_that_it_had(ghost: Path) -> None:
    name = make_active(ghost)
    (ghost.parent / "dir").mkdir()
    ghost.unlink()
    assert find(ghost).area.name == name
    assert find(f"{ghost.parent}/dir/../{ghost.name}").area.name == name
    with pytest.raises(errors.NotFound, match="not active, and No such file or directory"):
        find(ghost.with_name("other"))
    # its place is taken by something that is no ghost
    ghost.mkdir()
    with pytest.raises(errors.NotFound, match="is not active"):
        find(ghost)
    off(name)


# -- names


def test_a_file_that_is_called_deleted(swap_dir: Path) -> None:
    path, odd = (swap_file(swap_dir / name) for name in ("x", "x (deleted)"))
    swap_on(odd)
    done = ghostctl("off", path)
    assert (done.returncode, done.stderr) == (3, f"ghostctl: {path}: is not active\n")
    assert ghostctl("-q", "mkghost", "--force", "-s", "1M", path).returncode == 0
    path.unlink()
    swap_file(path)
    assert find(odd).area.name == str(odd)
    assert is_active(odd)
    swap_on(path)
    assert find(path).area.name == str(path)
    off(path)
    assert is_active(odd)
    assert not is_active(path)
    off(odd)
    assert not is_active(odd)


def test_a_bare_name_is_that_of_proc_swaps() -> None:
    """Of an area without a file; a file of that name is meant by a path."""
    xswap = areas.Active(swaps.Area("xswap0", "xswap", 1024, 0, 1), "xswap0", "xswap")
    assert areas.find("xswap0", [xswap], NONE) == xswap
    with pytest.raises(errors.NotFound):
        areas.find("/xswap0", [xswap], NONE)
    with pytest.raises(errors.NotFound):
        areas.find("xswap1", [xswap], NONE)


# -- other paths


@contextmanager
def over_mounted(directory: Path, how: str) -> Iterator[Path]:
    """A directory that is hidden by a mount; yields one in which its files can still be reached."""
    require("mount")
    view = directory.with_name("view")
    view.mkdir()
    with ExitStack() as stack:
        if how == "bind mount":
            run("mount", "--bind", directory, view)
            stack.callback(run, "umount", view)
        else:
            for path in directory.iterdir():
                (view / path.name).hardlink_to(path)
        run("mount", "-t", "tmpfs", "ghostctl-test", directory)
        stack.callback(run, "umount", directory)
        yield view


@pytest.mark.parametrize("how", ["hard link", "bind mount"])
def test_an_area_below_another_mount(swap_dir: Path, how: str) -> None:
    hidden = swap_dir / "dir"
    hidden.mkdir()
    path = swap_file(hidden / "swap")
    idle = swap_file(hidden / "idle")
    swap_on(path)
    with over_mounted(hidden, how) as view:
        other = view / "swap"
        try:
            assert status(other)[0]["name"] == str(path)
            for command in (("label", "-L", "new"), ("mkghost", "--force", "-s", "1M")):
                done = ghostctl(*command, other)
                assert done.returncode == 6
                assert f"is an active swap area as {path}\n" in done.stderr
            assert ghostctl("on", other).returncode == 6
            # and not another one that can be seen
            with pytest.raises(errors.NotFound, match="is not active"):
                find(view / idle.name)
            with pytest.raises(errors.NotFound):
                find(NONE)
            # another file at its name is not it
            make_ghost(path)
            assert active_of(path) is None
            done = ghostctl("off", other)
            assert (done.returncode, done.stderr) == (0, "")
            assert not is_active(path)
        finally:
            if is_active(path):
                run("swapoff", other)


def test_two_below_another_mount_cannot_be_told_apart(swap_dir: Path) -> None:
    """That it is active is known, but not which of them it is: none is taken."""
    hidden = swap_dir / "dir"
    hidden.mkdir()
    paths = [swap_on(swap_file(hidden / name)) for name in ("x", "y")]
    with over_mounted(hidden, "hard link") as view:
        try:
            with pytest.raises(errors.Error, match="is active, but it cannot be told whether as") as caught:
                find(view / "x")
            assert all(str(path) in str(caught.value) for path in paths)
            assert errors.exit_status(caught.value) == 1
            done = ghostctl("mkghost", "--force", "-s", "1M", view / "x")
            assert done.returncode == 1, done.stderr
        finally:
            for path in paths:
                run("swapoff", view / path.name)


def test_below_a_read_only_mount(swap_dir: Path) -> None:
    """As in a service with ProtectSystem=strict: the file can be found, but the kernel cannot be asked."""
    require("mount")
    directory = swap_dir / "dir"
    directory.mkdir()
    path, idle = swap_on(swap_file(directory / "swap")), swap_file(directory / "idle")
    run("mount", "--bind", directory, directory)
    try:
        run("mount", "-o", "remount,bind,ro", directory)
        assert find(path).area.name == str(path)
        with pytest.raises(errors.NotFound, match="is not active"):
            find(idle)
    finally:
        run("umount", directory)
    with over_mounted(directory, "bind mount") as view:
        run("mount", "-o", "remount,bind,ro", view)
        for name in ("swap", "idle"):
            with pytest.raises(errors.Error, match="cannot tell whether it is active") as caught:
                find(view / name)
            assert errors.exit_status(caught.value) == 1
        run("mount", "-o", "remount,bind,rw", view)
        off(view / "swap")
        assert not is_active(path)


def test_the_name_of_an_area_that_cannot_be_reached(swap_dir: Path) -> None:
    """It is active, and only its name says so; what swapoff(2) says of it is the answer."""
    hidden = swap_dir / "dir"
    hidden.mkdir()
    path = swap_on(swap_file(hidden / "swap"))
    with over_mounted(hidden, "hard link") as view:
        try:
            assert find(path).area.name == str(path)
            with oscalls.raises(errno.ENOENT, path):
                off(path)
            with pytest.raises(errors.NotFound, match="not active, and No such file"):
                find(hidden / "other")
        finally:
            run("swapoff", view / path.name)


def test_only_root_can_ask_the_kernel_about_a_file(swap_dir: Path) -> None:
    """Whose area may be one of which the name leads nowhere."""
    hidden = swap_dir / "dir"
    hidden.mkdir()
    path, idle = swap_on(swap_file(hidden / "x")), swap_file(hidden / "idle")
    for directory in (hidden, swap_dir, swap_dir.parent):
        directory.chmod(0o755)
    with as_nobody():
        assert find_below(swap_dir, path).area.name == str(path)
        with pytest.raises(errors.NotFound):
            find_below(swap_dir, idle)
    with over_mounted(hidden, "hard link") as view:
        try:
            with as_nobody():
                for name in ("x", "idle"):
                    with pytest.raises(errors.Denied, match="only root can tell whether it is active"):
                        find_below(swap_dir, view / name)
                with pytest.raises(errors.NotFound):
                    find_below(swap_dir, view)
        finally:
            off(view / "x")


# -- what cannot be told


@pytest.mark.parametrize("spec", ["ghost", "UUID", "name"])
def test_a_device_that_cannot_be_read(ghost: Path, monkeypatch: pytest.MonkeyPatch, spec: str) -> None:
    """For want of memory, as an example: whether it was made for the ghost is then not known."""
    name = make_active(ghost)
    copy = Path(shutil.copy2(ghost, ghost.with_name("copy")))
    what = {"ghost": str(ghost), "UUID": str(copy), "name": name}[spec]
    with monkeypatch.context() as patch:
        oscalls.fail(patch, "open", errno.ENOMEM, when=lambda path, *_a, **_k: path == name)
        with pytest.raises(errors.Error, match=f"{name}: Cannot allocate memory") as caught:
            off(what)
        assert "annot tell w" in str(caught.value)
        assert errors.exit_status(caught.value) == 1
        with ghostfile.look(str(ghost)) as file, pytest.raises(errors.Error, match="cannot tell whether"):
            areas.refuse_active(file)
    assert is_active(name)
    off(ghost)
    assert labelled() == set()


def test_a_ghost_that_cannot_be_read(ghost: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither is a copy the ghost for that."""
    make_active(ghost)
    copy = Path(shutil.copy2(ghost, ghost.with_name("copy")))
    with monkeypatch.context() as patch:
        oscalls.fail(patch, "open", errno.EIO, when=lambda path, *_a, **_k: path == str(ghost))
        for spec in (ghost, copy):
            with pytest.raises(errors.Error, match=f"{ghost}: cannot tell whether it is active: Input"):
                find(spec)
    off(ghost)


def test_strace_agrees(ghost: Path) -> None:
    """The same with the program as users start it."""
    require("strace")
    name = make_active(ghost)
    inject = ("strace", "-fqq", "-o/dev/null", "-P", name, "-einject=openat:error=ENOMEM")
    done = ghostctl("off", ghost, prefix=inject)
    message = f"ghostctl: {ghost}: cannot tell whether it is active: {name}: Cannot allocate memory\n"
    assert (done.returncode, done.stderr) == (1, message)
    assert is_active(name)
    off(ghost)


def test_what_is_taken_down_meanwhile_is_no_doubt(ghost: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device on its way out cannot be opened, but it is no area any more."""
    name = make_active(ghost)

    def taken_down(path: object, *_: object, **_keywords: object) -> bool:
        if path == name and is_active(name):
            run("swapoff", name)
        return path == name

    with monkeypatch.context() as patch:
        oscalls.fail(patch, "open", errno.EIO, when=taken_down)
        actives = areas.read()
        assert name not in {one.area.name for one in actives}
        # nor does it keep another ghost from being activated
        other = make_ghost(ghost.with_name("other"), uid=OTHER)
        activation.activate(str(other), activation.Request(backend="zram"))
        off(other)
    assert labelled() == {name.removeprefix("/dev/")}
    backends.recover()


@pytest.mark.usefixtures("zram")
def test_as_nobody(swap_dir: Path) -> None:
    """Whose ghost an area is only root can read; what a path is anybody can."""
    require("setpriv")
    for directory in (swap_dir, swap_dir.parent):
        directory.chmod(0o755)
    ghost = make_ghost(swap_dir / "ghost")
    ghost.chmod(0o644)
    name = make_active(ghost, "-q")
    done = ghostctl("status", "-q", ghost, prefix=AS_NOBODY)
    assert (done.returncode, done.stdout, done.stderr) == (4, "", "")
    done = ghostctl("doctor", "--json", prefix=AS_NOBODY)
    (found,) = (check for check in json.loads(done.stdout)["checks"] if check["id"] == "active")
    assert "only root can tell" in found["seen"]
    assert name in found["seen"]
    path = swap_on(swap_file(swap_dir / "swap"))
    with as_nobody():
        with pytest.raises(errors.Denied, match="only root can tell whether it is active"):
            find(ghost)
        assert find(path).area.name == str(path)
        assert find(name).area.name == name
        # no file at all is a ghost of nobody's
        with pytest.raises(errors.Denied):
            find(swap_dir / "nothing")
        with pytest.raises(errors.NotFound):
            find(swap_dir)
    with as_nobody(), pytest.raises(errors.Denied, match="only root can tell"):
        find(f"UUID={UUID}")
    off(ghost)


def test_no_ghost_of_anybody_is_no_doubt(tmp_path: Path) -> None:
    """Without an area that a backend may have made anybody knows that a file is not active."""
    path = make_ghost(tmp_path / "ghost")
    one = areas.Active(swaps.Area("/nonesuch", "partition", 1, 0, 0), "/nonesuch")
    doubtful = one._replace(doubt=PermissionError(errno.EACCES, "no", "/nonesuch"))
    with pytest.raises(errors.NotFound):
        areas.find(str(path), [one], NONE)
    with pytest.raises(errors.Denied, match=f"{path}: only root can tell whether it is active"):
        areas.find(str(path), [doubtful], NONE)
    # what has no header can be no ghost
    (tmp_path / "directory").mkdir()
    with pytest.raises(errors.NotFound):
        areas.find(str(tmp_path / "directory"), [doubtful], NONE)


def test_without_a_list_of_areas(ghost: Path, swap_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel is asked about the file itself, and the backends about what they have made."""
    path, idle = swap_on(swap_file(swap_dir / "swap")), swap_file(swap_dir / "idle")
    name = make_active(ghost)
    copy = Path(shutil.copy2(ghost, ghost.with_name("copy")))
    with monkeypatch.context() as patch:
        patch.setattr(swaps.read, "__defaults__", (str(swap_dir / "nothing"),))
        found = active_of(path)
        assert found is not None
        assert (found.area.name, found.path) == (str(path), str(path))
        assert active_of(idle) is None
        found = active_of(ghost)
        assert found is not None
        assert (found.area.name, found.backend, found.ghost) == (name, "zram", str(ghost))
        assert active_of(copy) is None
        with pytest.raises(errors.NoAreaList):
            areas.read()
    off(ghost)


def test_an_area_in_a_directory_of_roots(swap_dir: Path) -> None:
    """Nobody can tell whether it is the file that another path leads to."""
    hidden = swap_dir / "dir"
    hidden.mkdir(mode=0o700)
    path, idle = swap_on(swap_file(hidden / "swap")), swap_file(swap_dir / "idle")
    for directory in (swap_dir, swap_dir.parent):
        directory.chmod(0o755)
    with as_nobody():
        for spec in (path, idle):
            with pytest.raises(errors.Denied, match="only root can tell whether it is active"):
                find_below(swap_dir, spec if spec == idle else spec.with_name("other"))
        assert find_below(swap_dir, path).area.name == str(path)
    off(path)


def test_whose_copy_a_file_is(tmp_path: Path) -> None:
    """By the UUID on the area, or in the file of an area that has none on it."""
    ghost, copy = (make_ghost(tmp_path / name) for name in ("ghost", "copy"))
    other = make_ghost(tmp_path / "other", uid=OTHER)
    area = swaps.Area(str(ghost), "ghost", 1, 0, 1)
    by_file = areas.Active(area, area.name, "file", str(ghost))
    through = areas.Active(area._replace(name="/dev/nonesuch"), "/dev/nonesuch", "zram", "/gone", UUID)
    unreadable = by_file._replace(ghost="/gone", area=area._replace(name="/gone"))
    cases: list[tuple[list[areas.Active], str | None]] = [
        ([by_file], str(ghost)),
        ([through], "/gone"),
        ([unreadable], None),
        ([], None),
    ]
    for actives, place in cases:
        with ghostfile.look(str(copy)) as file:
            assert areas.twin(file, actives) == place
        with ghostfile.look(str(other)) as file:
            assert areas.twin(file, actives) is None


# -- off


def test_off_names_what_is_left(ghost: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = make_active(ghost)
    control = f"{CONTROL}/hot_remove"
    with monkeypatch.context() as patch:
        oscalls.fail(patch, "open", errno.EACCES, when=lambda path, *_a, **_k: path == control)
        with pytest.raises(errors.Error) as caught:
            off(ghost)
    error = caught.value
    assert error.path == name
    assert f"is not swap any more, but still there: {control}: Permission denied" in str(error)
    assert error.hint == f"echo {name.removeprefix('/dev/zram')} > {control}"
    assert errors.exit_status(error) == 1
    assert not is_active(name)
    assert labelled() == {name.removeprefix("/dev/")}
    other = make_ghost(ghost.with_name("other"), uid=OTHER)
    done = ghostctl("on", "--backend", "zram", other)
    assert done.returncode == 0
    assert f"{name}: warning: removed: it was left from an area that is gone" in done.stderr
    off(other)


@pytest.mark.parametrize("signalled", [False, True])
def test_swapoff_that_a_signal_interrupts(ghost: Path, signalled: bool) -> None:
    """After SIGCONT, for example, it goes on; after SIGINT the area stays as it was."""
    require("strace")
    name = make_active(ghost)
    how = "error=EINTR:signal=SIGINT:when=1" if signalled else "error=EINTR:when=1"
    done = ghostctl("off", ghost, prefix=("strace", "-fqq", "-o/dev/null", f"-einject=swapoff:{how}"))
    if not signalled:
        assert (done.returncode, done.stderr) == (0, "")
        return
    assert (done.returncode, done.stderr) == (-2, f"ghostctl: {name}: interrupted, still active\n")
    assert is_active(name)
    assert attribute(name, "disksize") == str(SIZE)
    off(ghost)


# -- on


def test_no_room_for_more_areas(swap_dir: Path) -> None:
    """The kernel's refusal is EPERM, which is not for want of permission."""
    first = swap_file(swap_dir / "0", 40 << 10)
    on: list[Path] = []
    try:
        path = first
        while len(active()) < 40:
            try:
                on.append(swap_on(path))
            except PermissionError:
                break
            path = Path(shutil.copy(first, swap_dir / str(len(on))))
            path.chmod(0o600)
        # in this process: the others on this machine have no room either, for as long as it takes
        count = len(active())
        with pytest.raises(
            errors.Error, match=f"the kernel has no room for more than {count} areas"
        ) as caught:
            activation.activate(str(path), activation.Request())
        assert (errors.exit_status(caught.value), caught.value.path) == (1, str(path))
    finally:
        for path in on:
            subprocess.run(["swapoff", path], check=False)
    assert count >= 23


def test_locks_of_others_do_no_harm(ghost: Path, ghost_dir: Path) -> None:
    """Anybody may lock a directory that he can read."""
    import fcntl

    fd = os.open(ghost_dir, os.O_RDONLY)
    file = os.open(ghost, os.O_RDONLY)
    try:
        for number in (fd, file):
            fcntl.flock(number, fcntl.LOCK_SH)
        assert ghostctl("-q", "mkghost", "-s", "1M", ghost_dir / "new").returncode == 0
        (ghost_dir / "fstab").touch()
        done = ghostctl("fstab", "add", "-T", ghost_dir / "fstab", ghost_dir / "new", "-s", "1M")
        assert (done.returncode, (ghost_dir / "fstab").read_text()[:1]) == (0, "/"), done.stderr
        make_active(ghost)
        off(ghost)
    finally:
        os.close(fd)
        os.close(file)


def test_recognise_leaves_others_alone(ghost: Path) -> None:
    """A device without our header, and one that is no zram."""
    device = add_device()
    try:
        set_size(device)
        area = swaps.Area(str(device), "partition", 1, 0, 0)
        assert backends.get("zram").recognise(area) is None
        device.write_bytes(ghost.read_bytes())
        assert backends.get("zram").recognise(area) is None
        assert areas.look_at(area) == areas.Active(area, str(device))
        assert area.name in {one.name for one in backends.get("zram").made()}
    finally:
        remove_device(device)


def test_is_listed(swap_dir: Path, loop_device: Callable[[Path], Path]) -> None:
    path, image = (swap_file(swap_dir / name) for name in ("swap", "image"))
    device = loop_device(image)
    assert not areas.is_listed(path.stat())
    swap_on(path)
    assert areas.is_listed(path.stat())
    assert not areas.is_listed(image.stat())
    swap_on(device)
    assert areas.is_listed(device.stat())
    # the file below it is not the device
    assert not areas.is_listed(image.stat())
    node = swap_dir / "node"
    os.mknod(node, 0o600 | 0o060000, device.stat().st_rdev)
    assert find(node).area.name == str(device)
    run("swapoff", device)
    run("swapoff", path)
