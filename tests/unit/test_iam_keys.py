"""The master key file, sealed secrets, access keys, and who they say one is."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from ec2_world import ACCOUNT, World

from homeport.services.iam import keys
from homeport.services.iam.model import ACCESS_KEYS, GLOBAL


@pytest.fixture
def world() -> Iterator[World]:
    with World() as world:
        yield world


@pytest.fixture
def vault() -> keys.Vault:
    return keys.Vault(b"m" * 32)


def test_the_master_key_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    first = keys.load_master(str(path))
    assert len(first) == 32
    assert path.stat().st_mode & 0o7777 == 0o600
    assert keys.load_master(str(path)) == first
    assert [p.name for p in tmp_path.iterdir()] == ["master.key"]
    assert keys.load_master(str(tmp_path / "other.key")) != first


def test_a_wide_umask_does_not_open_the_master_key(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        keys.load_master(str(tmp_path / "master.key"))
    finally:
        os.umask(old)
    assert (tmp_path / "master.key").stat().st_mode & 0o7777 == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610])
def test_a_master_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "master.key"
    keys.load_master(str(path))
    path.chmod(mode)
    with pytest.raises(keys.BadMasterKey, match=f"mode {mode:04o}"):
        keys.load_master(str(path))


@pytest.mark.parametrize("content", ["", "abc", "zz" * 32, "00" * 31])
def test_a_damaged_master_key_is_refused_and_left(tmp_path: Path, content: str) -> None:
    path = tmp_path / "master.key"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(keys.BadMasterKey, match="damaged"):
        keys.load_master(str(path))
    assert path.read_text() == content


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    keys.load_master(str(tmp_path / "real"))
    (tmp_path / "master.key").symlink_to(tmp_path / "real")
    with pytest.raises(keys.BadMasterKey, match="can't be read"):
        keys.load_master(str(tmp_path / "master.key"))


def test_a_pipe_is_no_master_key(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "master.key", 0o600)
    with pytest.raises(keys.BadMasterKey, match="not a regular file"):
        keys.load_master(str(tmp_path / "master.key"))


def test_a_seal_opens_only_as_it_was_made(vault: keys.Vault) -> None:
    sealed = vault.seal("sécret", "access-key/A")
    assert "sécret" not in sealed
    assert vault.open(sealed, "access-key/A") == "sécret"
    assert vault.seal("sécret", "access-key/A") != sealed
    middle = len(sealed) // 2
    flipped = sealed[:middle] + ("A" if sealed[middle] != "A" else "B") + sealed[middle + 1 :]
    for bad, context, opener in [
        (sealed, "access-key/B", vault),
        (flipped, "access-key/A", vault),
        (sealed[:-4], "access-key/A", vault),
        ("2." + sealed[2:], "access-key/A", vault),
        ("1.", "access-key/A", vault),
        ("1.???", "access-key/A", vault),
        (sealed, "access-key/A", keys.Vault(b"n" * 32)),
    ]:
        with pytest.raises(keys.BadSeal):
            opener.open(bad, context)


def test_derived_keys_differ_by_purpose_and_stay(vault: keys.Vault) -> None:
    assert vault.derive("a") == keys.Vault(b"m" * 32).derive("a")
    assert len({vault.derive("a"), vault.derive("b"), keys.Vault(b"n" * 32).derive("a")}) == 3
    assert len(vault.derive("a")) == 32


def test_generated_keys_have_aws_forms() -> None:
    key, secret = keys.generate(random.Random(1).getrandbits)
    assert re.fullmatch(r"AKIA[A-Z2-7]{16}", key)
    assert re.fullmatch(r"[A-Za-z0-9/+]{40}", secret)
    assert keys.generate(random.Random(1).getrandbits) == (key, secret)
    assert keys.new_key() != keys.new_key()


def test_the_local_nodes_key_follows_from_the_master_key(vault: keys.Vault) -> None:
    assert keys.local_node_key(vault) == keys.local_node_key(keys.Vault(b"m" * 32))
    assert keys.local_node_key(vault) != keys.local_node_key(keys.Vault(b"n" * 32))


def test_a_root_key(world: World, vault: keys.Vault) -> None:
    world.update(lambda tx: keys.put_root(tx, vault, ACCOUNT, "test", "secret", tx.now))
    found = keys.lookup(world.store.view(), vault, "test")
    assert found is not None
    assert found.secret == "secret"
    assert (found.principal.account, found.principal.node) == (ACCOUNT, None)
    assert (found.principal.arn, found.principal.user_id) == (f"arn:aws:iam::{ACCOUNT}:root", ACCOUNT)
    assert keys.root_key(world.store.view(), vault, ACCOUNT) == ("test", "secret")
    assert keys.root_key(world.store.view(), vault, "210987654321") is None
    assert keys.lookup(world.store.view(), vault, "nobody") is None
    (record,) = world.store.view().all(ACCESS_KEYS, GLOBAL)
    assert "secret" not in record.sealed


def test_putting_the_same_key_changes_nothing(world: World, vault: keys.Vault) -> None:
    def put() -> None:
        world.update(lambda tx: keys.put_root(tx, vault, ACCOUNT, "test", "secret", tx.now))
        world.update(lambda tx: keys.put_node(tx, vault, "n1", "nodekey", "node secret", tx.now))

    put()
    version = world.store.version
    put()
    assert world.store.version == version


def test_a_new_root_key_ends_the_old_one_at_once(world: World, vault: keys.Vault) -> None:
    world.update(lambda tx: keys.put_root(tx, vault, ACCOUNT, "old", "s1", tx.now))
    assert keys.lookup(world.store.view(), vault, "old") is not None
    world.update(lambda tx: keys.put_root(tx, vault, ACCOUNT, "new", "s2", tx.now))
    assert keys.lookup(world.store.view(), vault, "old") is None
    assert keys.lookup(world.store.view(), vault, "new") is not None
    world.update(lambda tx: keys.put_root(tx, vault, ACCOUNT, "new", "s3", tx.now))
    changed = keys.lookup(world.store.view(), vault, "new")
    assert changed is not None
    assert changed.secret == "s3"


def test_a_seal_is_opened_once(world: World, vault: keys.Vault) -> None:
    world.update(lambda tx: keys.put_root(tx, vault, ACCOUNT, "test", "secret", tx.now))
    assert keys.lookup(world.store.view(), vault, "test") is keys.lookup(world.store.view(), vault, "test")


def test_a_node_is_a_user_of_its_own(world: World, vault: keys.Vault) -> None:
    world.update(lambda tx: keys.put_root(tx, vault, ACCOUNT, "test", "secret", tx.now))
    world.update(lambda tx: keys.put_node(tx, vault, "n1", "k1", "s1", tx.now))
    world.update(lambda tx: keys.put_node(tx, vault, "n1", "k2", "s2", tx.now))
    found = keys.lookup(world.store.view(), vault, "k1")
    assert found is not None
    assert (found.principal.account, found.principal.node) == (ACCOUNT, "n1")
    assert found.principal.arn == f"arn:aws:iam::{ACCOUNT}:user/homeport/node/n1"
    assert re.fullmatch(r"AIDA[A-Z2-7]{17}", found.principal.user_id)
    assert keys.node_keys(world.store.view(), vault, "n1") == [("k1", "s1"), ("k2", "s2")]
    world.update(lambda tx: keys.remove_node(tx, "n1"))
    assert keys.lookup(world.store.view(), vault, "k1") is None
    assert keys.root_key(world.store.view(), vault, ACCOUNT) == ("test", "secret")


def test_a_key_belongs_to_one_owner(world: World, vault: keys.Vault) -> None:
    with pytest.raises(ValueError, match="0 root keys"):
        world.update(lambda tx: keys.put_node(tx, vault, "n1", "k1", "s1", tx.now))
    world.update(lambda tx: keys.put_root(tx, vault, ACCOUNT, "test", "secret", tx.now))
    world.update(lambda tx: keys.put_node(tx, vault, "n1", "k1", "s1", tx.now))
    for put in (
        lambda tx: keys.put_root(tx, vault, ACCOUNT, "k1", "x", tx.now),
        lambda tx: keys.put_root(tx, vault, "210987654321", "test", "x", tx.now),
        lambda tx: keys.put_node(tx, vault, "n2", "k1", "x", tx.now),
        lambda tx: keys.put_node(tx, vault, "n2", "test", "x", tx.now),
    ):
        with pytest.raises(ValueError, match="in use already"):
            world.update(put)


def test_who_am_i(world: World) -> None:
    assert world.call("GetCallerIdentity") == {
        "UserId": ACCOUNT,
        "Account": ACCOUNT,
        "Arn": f"arn:aws:iam::{ACCOUNT}:root",
    }
