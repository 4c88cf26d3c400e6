"""Join tokens: used once, for an hour, known by their hash alone; and what the nodes that they make may do."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from ec2_world import ACCOUNT, World

from homeport.core import jointoken
from homeport.services.iam import keys, tokens
from homeport.services.iam.model import ACCESS_KEYS, GLOBAL, JOIN_TOKENS
from homeport.store import Tx

VAULT = keys.Vault(b"m" * 32)
BITS = random.Random(5).getrandbits
CLUSTER = f"arn:aws:ecs:us-east-1:{ACCOUNT}:cluster/demo"
NONCE, OTHER = "n" * 32, "o" * 32


@pytest.fixture
def world() -> Any:
    with World() as world:
        yield world


def created(world: World) -> tuple[str, str]:
    token, secret = world.update(lambda tx: tokens.create(tx, BITS, ACCOUNT, "us-east-1", "demo"))
    return token.id, secret


def redeemed(world: World, id: str, secret: str, nonce: str = NONCE) -> tokens.Joined:
    def redeem(tx: Tx) -> tokens.Joined:
        return tokens.redeem(tx, VAULT, BITS, tokens.shown(tx, id, secret, nonce), nonce, CLUSTER)

    return world.update(redeem)


def test_a_token_makes_one_node_with_a_key_for_its_cluster(world: World) -> None:
    id, secret = created(world)
    joined = redeemed(world, id, secret)
    credential = world.update(lambda view: keys.lookup(view, VAULT, joined.access_key))
    assert credential.secret == joined.secret
    principal = credential.principal
    assert (principal.account, principal.node, principal.cluster) == (ACCOUNT, joined.node, CLUSTER)
    with pytest.raises(tokens.Refused):
        redeemed(world, id, secret, OTHER)
    assert world.update(tokens.valid) == []


def test_a_machine_whose_answer_was_lost_may_ask_again(world: World) -> None:
    id, secret = created(world)
    first = redeemed(world, id, secret)
    assert redeemed(world, id, secret) == first
    assert world.update(lambda view: len(list(view.each(ACCESS_KEYS)))) == 1


def test_no_secret_is_stored(world: World) -> None:
    id, secret = created(world)
    joined = redeemed(world, id, secret)
    record = world.update(lambda view: view.get(JOIN_TOKENS, GLOBAL, id))
    key = world.update(lambda view: view.get(ACCESS_KEYS, GLOBAL, joined.access_key))
    for told in (secret, NONCE, joined.secret):
        assert told not in repr(record) + repr(key)


@pytest.mark.parametrize(("id", "secret"), [("0" * 12, None), (None, "A" * 22), (None, "")])
def test_wrong_ones_are_refused_and_spend_nothing(world: World, id: str | None, secret: str | None) -> None:
    right = created(world)
    with pytest.raises(tokens.Refused):
        redeemed(world, id or right[0], right[1] if secret is None else secret)
    redeemed(world, *right)


def test_an_hour_ends_a_token_used_or_not(world: World) -> None:
    (id, secret), used = created(world), created(world)
    redeemed(world, *used)
    world.clock.now += tokens.VALID_SECONDS - 1
    assert [token.id for token in world.update(tokens.valid)] == [id]
    world.clock.now += 1
    for old in ((id, secret), used):
        with pytest.raises(tokens.Refused):
            redeemed(world, *old)
    assert world.update(tokens.valid) == []
    newest, _ = created(world)
    assert world.update(lambda view: [token.id for _, token in view.each(JOIN_TOKENS)]) == [newest]


def test_a_revoked_token_is_refused(world: World) -> None:
    id, secret = created(world)
    assert world.update(lambda tx: tokens.revoke(tx, id))
    assert not world.update(lambda tx: tokens.revoke(tx, id))
    with pytest.raises(tokens.Refused):
        redeemed(world, id, secret)


def test_a_removed_node_does_not_come_back_by_its_token(world: World) -> None:
    id, secret = created(world)
    joined = redeemed(world, id, secret)
    world.update(lambda tx: keys.remove_node(tx, joined.node))
    with pytest.raises(tokens.Refused):
        redeemed(world, id, secret)


def test_there_is_a_limit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MAX_TOKENS", 3)
    for _ in range(3):
        created(world)
    with pytest.raises(tokens.TooMany):
        created(world)
    world.clock.now += tokens.VALID_SECONDS
    created(world)


def test_the_text_says_what_it_holds_and_nothing_else_is_one() -> None:
    for pin in ("p" * 43, None):
        token = jointoken.JoinToken("0123456789ab", "s" * 22, pin)
        assert jointoken.parse(token.text) == token
    text = jointoken.JoinToken("0123456789ab", "s" * 22, "p" * 43).text
    for wrong in ("", text + "x", text[:-1], text.upper(), f" {text}", text.replace("hp1", "hp2"), json.dumps(text)):
        assert jointoken.parse(wrong) is None
