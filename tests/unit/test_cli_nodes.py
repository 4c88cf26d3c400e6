"""How a machine is told to join, and where the API listens."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from homeport import config
from homeport.agent import membership
from homeport.agent.config import AgentSettings, Host
from homeport.agent.membership import Membership
from homeport.agent.registration import registration
from homeport.cli import CommandError, nodes
from homeport.config import ConfigError, Listens

PIN = "p" * 43


def listens(tmp_path: Path, **flags: object) -> tuple[Listens, ...]:
    return config.load_or_create(str(tmp_path), **flags).listens


def test_loopback_has_plain_http_and_every_other_address_tls(tmp_path: Path) -> None:
    assert listens(tmp_path) == (("127.0.0.1", 4566, False),)
    for host in ("0.0.0.0", "10.0.0.5", "::"):
        assert listens(tmp_path, host=host) == (("127.0.0.1", 4566, False), (host, 4567, True))
    assert listens(tmp_path, host="10.0.0.5", tls_port=443)[1] == ("10.0.0.5", 443, True)
    assert config.load_or_create(str(tmp_path), host="10.0.0.5").endpoint == "http://127.0.0.1:4566"


def test_insecure_is_plain_http_on_the_port_of_loopback(tmp_path: Path) -> None:
    assert listens(tmp_path, host="0.0.0.0", insecure=True) == (("0.0.0.0", 4566, False),)
    both = (("127.0.0.1", 4566, False), ("10.0.0.5", 4566, False))
    assert listens(tmp_path, host="10.0.0.5", insecure=True) == both


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ({"tls_cert": "/c"}, "go together"),
        ({"tls_key": "/k"}, "go together"),
        ({"tls_port": 4566}, "can't be the same"),
        ({"tls_port": 65536, "host": "0.0.0.0"}, "--tls-port takes"),
        ({"port": 65535, "host": "0.0.0.0"}, "--tls-port takes"),
    ],
)
def test_what_can_not_be_served_is_refused(tmp_path: Path, flags: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        config.load_or_create(str(tmp_path), **flags)


def wish(server: str, **options: bool) -> nodes._Wish:
    given = {"system_cas": False, "insecure": False} | options
    return nodes._Wish(server, "demo", False, None, **given)


def test_a_key_is_not_sent_where_others_can_read_it() -> None:
    with pytest.raises(CommandError, match="--insecure"):
        nodes._trust("http://10.0.0.5:4566", PIN, wish("http://10.0.0.5:4566"))
    assert nodes._trust("http://10.0.0.5:4566", PIN, wish("", insecure=True)) is None
    assert nodes._trust("http://127.0.0.1:4566", None, wish("")) is None
    assert nodes._trust("https://10.0.0.5:4567", PIN, wish("")) == PIN
    assert nodes._trust("https://10.0.0.5:4567", PIN, wish("", system_cas=True)) is None
    for wrong in ("10.0.0.5:4567", "ftp://10.0.0.5", "https://"):
        with pytest.raises(CommandError, match="URL"):
            nodes._trust(wrong, PIN, wish(wrong))


@pytest.mark.parametrize("text", ["rack", "=r1", "ecs.os-type=linux", "homeport.fargate=true", "a=1,b"])
def test_attributes_are_names_and_values_of_ones_own(text: str) -> None:
    assert nodes._attributes("rack=r1,empty=,eq=a=b") == {"rack": "r1", "empty": "", "eq": "a=b"}
    with pytest.raises(CommandError, match="--attributes"):
        nodes._attributes(text)


def test_a_membership_is_private_and_comes_back(tmp_path: Path) -> None:
    joined = Membership(
        server="https://10.0.0.5:4567",
        pin=PIN,
        token="0" * 12,
        node="n",
        account="1",
        region="r",
        cluster="demo",
        access_key="AKIA",
        secret_key="a secret",
        public_pool="198.18.0.0/28",
    )
    assert membership.load(str(tmp_path)) is None
    membership.save(str(tmp_path), joined)
    assert membership.load(str(tmp_path)) == joined
    assert membership.file_of(str(tmp_path)).stat().st_mode & 0o777 == 0o600
    assert "a secret" not in repr(joined)
    membership.file_of(str(tmp_path)).write_text("half")
    with pytest.raises(ValueError, match=r"node\.json"):
        membership.load(str(tmp_path))


def test_a_node_registers_what_it_was_told() -> None:
    settings = AgentSettings(
        state="/s",
        instance="0" * 8,
        endpoint="https://10.0.0.5:4567",
        access_key="k",
        secret_key="s",
        cluster="demo",
        external=True,
        auto_scaling_group="blue",
        attributes={"rack": "r1"},
        reserved_memory=512,
        zone="us-east-1b",
    )
    host = Host(cores=2, memory=2048, architecture="x86_64", boot_id="b", gpus=("GPU-1", "GPU-2"))
    params = registration(settings, host, None, "t", "m")
    assert params["platformDevices"] == [{"id": "GPU-1", "type": "GPU"}, {"id": "GPU-2", "type": "GPU"}]
    fargate = msgspec.structs.replace(settings, fargate=True)
    assert "platformDevices" not in registration(fargate, host, None, "t", "m")
    values = {a["name"]: a.get("value") for a in params["attributes"]}
    assert values["rack"] == "r1"
    assert values["homeport.auto-scaling-group"] == "blue"
    assert values["ecs.availability-zone"] == "us-east-1b"
    assert "ecs.capability.external" in values
    assert {r["name"]: r.get("integerValue") for r in params["totalResources"]}["MEMORY"] == 1536
