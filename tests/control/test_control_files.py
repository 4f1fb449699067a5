"""Blobs, source trees, the key and sealed values."""

from __future__ import annotations

import asyncio
import concurrent.futures
import hashlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from portico.control.blobs import Blobs
from portico.control.crypto import CryptoError, Vault, load_or_create_key
from portico.control.errors import DeployError, InvalidRequestError, TooLargeError
from portico.control.log_files import LogFiles
from portico.control.sources import KEEP_UNUSED, LINK_FROM, Sources, inventory, place
from portico.wire.image import AddFiles, FileEntry, ImageSpec
from portico.wire.manifest import AppManifest


async def chunks(content: bytes, size: int = 7) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def put(blobs: Blobs, content: bytes, path: str = "main.py", **options: bool) -> FileEntry:
    digest = hashlib.sha256(content).hexdigest()
    asyncio.run(blobs.put(digest, chunks(content, 1 << 16)))
    return FileEntry(path=path, sha256=digest, size=len(content), **options)


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    made = Blobs(tmp_path / "blobs", limit=4 << 20)
    made.prepare()
    return made


@pytest.fixture
def sources(tmp_path: Path, blobs: Blobs) -> Sources:
    made = Sources(tmp_path / "sources", blobs)
    made.prepare()
    return made


def drafts(blobs: Blobs) -> list[str]:
    return os.listdir(blobs._drafts)


def test_a_blob_comes_back_as_it_was(blobs: Blobs) -> None:
    entry = put(blobs, os.urandom(3 << 20))
    assert hashlib.sha256(blobs.path(entry.sha256).read_bytes()).hexdigest() == entry.sha256
    assert drafts(blobs) == []


def test_folders_are_their_users_alone(tmp_path: Path) -> None:
    former = os.umask(0o022)
    try:
        Blobs(tmp_path / "blobs").prepare()
        LogFiles(tmp_path / "logs").write("ap-1", [])
    finally:
        os.umask(former)
    made = [path for path in tmp_path.rglob("*") if path.is_dir()]
    assert len(made) == 4
    assert {path.stat().st_mode & 0o777 for path in made} == {0o700}


def test_wrong_content_and_too_much_of_it_leave_nothing(blobs: Blobs) -> None:
    digest = hashlib.sha256(b"right").hexdigest()
    with pytest.raises(InvalidRequestError, match="send it again"):
        asyncio.run(blobs.put(digest, chunks(b"wrong")))
    with pytest.raises(TooLargeError):
        asyncio.run(blobs.put(digest, chunks(b"x" * (5 << 20), 1 << 20)))
    assert blobs.missing([digest]) == [digest]
    assert drafts(blobs) == []


def test_an_upload_that_breaks_off_leaves_nothing(blobs: Blobs) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"half"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        asyncio.run(blobs.put("a" * 64, broken()))
    assert drafts(blobs) == []


def test_uploads_of_a_killed_server_are_removed_later(blobs: Blobs) -> None:
    for name, age in (("old", 2 * 86400), ("new", 60)):
        draft = blobs._drafts / name
        draft.write_bytes(b"half")
        os.utime(draft, (time.time() - age,) * 2)
    blobs.prepare()
    assert drafts(blobs) == ["new"]


@pytest.mark.parametrize(
    "digest", ["", "..", "../" + "a" * 61, "A" * 64, "a" * 63, "a" * 64 + "\n"]
)
def test_what_is_no_digest_is_no_path(blobs: Blobs, digest: str) -> None:
    with pytest.raises(InvalidRequestError):
        blobs.path(digest)
    with pytest.raises(InvalidRequestError):
        blobs.missing([digest])


def test_root_and_relative_paths_mean_the_same_place() -> None:
    assert place("/root/a/b.py") == place("a/b.py") == place("./a//b.py") == "a/b.py"


@pytest.mark.parametrize(
    "path",
    ["../x", "a/../../x", "/etc/passwd", "/rooted/x", "/root/../x", "/root", "", ".", "a\0b"],
)
def test_paths_outside_the_root_are_refused(path: str) -> None:
    with pytest.raises(InvalidRequestError):
        place(path)


def test_image_files_go_over_sources_but_not_over_each_other(blobs: Blobs) -> None:
    one, two = put(blobs, b"1"), put(blobs, b"2")
    images = {"a": ImageSpec(steps=(AddFiles(files=(two,)),))}
    manifest = AppManifest(name="shop", files=(one,), images=images)
    assert inventory(manifest) == {"main.py": two}
    images = images | {"b": ImageSpec(steps=(AddFiles(files=(one,)),))}
    with pytest.raises(InvalidRequestError, match="different files"):
        inventory(msgspec.structs.replace(manifest, images=images))


def test_a_file_cannot_be_a_folder_too(blobs: Blobs) -> None:
    file = put(blobs, b"1", "a")
    below = msgspec.structs.replace(file, path="a/b")
    with pytest.raises(InvalidRequestError, match="is a file and the folder"):
        inventory(AppManifest(name="shop", files=(file, below)))


def test_equal_files_share_a_tree(sources: Sources, blobs: Blobs) -> None:
    script = put(blobs, b"#!/bin/sh\n", "bin/run", executable=True)
    big = put(blobs, b"x" * LINK_FROM, "/root/model.bin")
    first = sources.assemble(AppManifest(name="shop", files=(script, big)))
    second = sources.assemble(AppManifest(name="other", files=(big, script)))
    assert first.path == second.path
    assert os.access(first.path / "bin/run", os.X_OK)
    assert not os.access(first.path / "model.bin", os.X_OK)
    assert (first.path / "model.bin").samefile(blobs.path(big.sha256))
    plain = msgspec.structs.replace(script, executable=False)
    assert sources.assemble(AppManifest(name="shop", files=(plain, big))).path != first.path


def test_deploys_at_the_same_time_share_a_tree(sources: Sources, blobs: Blobs) -> None:
    files = tuple(put(blobs, b"%d" % n, f"pkg/{n}.py") for n in range(50))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        trees = list(pool.map(sources.assemble, [AppManifest(name="shop", files=files)] * 8))
    assert len({tree.path for tree in trees}) == 1
    assert len(os.listdir(trees[0].path.parent)) == 1
    assert len(os.listdir(trees[0].path / "pkg")) == 50


def test_a_missing_or_truncated_blob_is_told(sources: Sources, blobs: Blobs) -> None:
    entry = put(blobs, b"content")
    blobs.path(entry.sha256).write_bytes(b"")
    with pytest.raises(DeployError, match="deploy again"):
        sources.assemble(AppManifest(name="shop", files=(entry,)))
    assert os.listdir(sources._folder) == []


def test_only_trees_nobody_uses_are_pruned(sources: Sources, blobs: Blobs) -> None:
    used = sources.assemble(AppManifest(name="shop", files=(put(blobs, b"1"),)))
    unused = sources.assemble(AppManifest(name="shop", files=(put(blobs, b"2"),)))
    unused.release()
    unused.release()
    assert sources.prune() == []
    other_server = Sources(sources._folder, blobs)
    assert other_server.prune(now=time.time() + KEEP_UNUSED + 60) == [unused.path]
    assert os.listdir(sources._folder) == [used.path.name]


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(load_or_create_key, [path] * 16))
    assert len(keys) == 1
    assert len(keys.pop()) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["key"]


def test_a_key_others_can_read_or_that_is_cut_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    load_or_create_key(path)
    path.chmod(0o640)
    with pytest.raises(CryptoError, match="chmod 600"):
        load_or_create_key(path)
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(CryptoError, match="does not hold a key"):
        load_or_create_key(path)


def test_a_sealed_value_opens_only_with_its_key_and_purpose() -> None:
    vault = Vault(os.urandom(32))
    sealed = vault.seal(b"value", "secret a")
    assert vault.open(sealed, "secret a") == b"value"
    assert b"value" not in sealed
    assert vault.seal(b"value", "secret a") != sealed
    changed = sealed[:-1] + bytes([sealed[-1] ^ 1])
    for opener, given, purpose in (
        (vault, sealed, "secret b"),
        (vault, changed, "secret a"),
        (vault, b"", "secret a"),
        (vault, b"\x02" + sealed[1:], "secret a"),
        (Vault(os.urandom(32)), sealed, "secret a"),
    ):
        with pytest.raises(CryptoError):
            opener.open(given, purpose)
