"""What the made-up images of the simulator do: everything that a program can do to its orchestrator."""

from __future__ import annotations

from homeport.agent.drivers.fake import Behaviour

IMAGES: dict[str, Behaviour] = {
    "web": Behaviour(),
    "slow": Behaviour(pull_seconds=6.0, create_seconds=0.8, start_seconds=0.4, stops=3.0),
    "deaf": Behaviour(stops=None),  # ignores SIGTERM
    "job": Behaviour(runs=8.0),
    "long": Behaviour(runs=90.0, stops=1.0, stop_code=0),
    "fails": Behaviour(runs=3.0, exit_code=7),
    "flash": Behaviour(runs=0.0, exit_code=5),
    "init": Behaviour(runs=1.5),
    "worker": Behaviour(runs=70.0, exit_code=9),
    "leaks": Behaviour(runs=65.0, ends="oom"),
    "flaps": Behaviour(check=lambda now: 1 if now % 80.0 < 25.0 else 0),
    "sick": Behaviour(check=lambda now: 1),
    "hangs": Behaviour(check=lambda now: None),
    "warms": Behaviour(check=lambda now: 0 if now % 100.0 > 30.0 else None, check_seconds=0.6),
    "oom": Behaviour(runs=4.0, ends="oom"),
    "vanishes": Behaviour(runs=6.0, ends="lost"),
    "missing": Behaviour(pull_error="pull access denied for missing, repository does not exist"),
    "nouser": Behaviour(create_error="unable to find user nobody2: no matching entries in passwd file"),
    "noentry": Behaviour(start_error='exec: "/no/such": no such file or directory'),
}
SERVED: dict[str, Behaviour] = {  # that only services are drawn with
    "crash": Behaviour(runs=0.0, exit_code=5),
    "soon": Behaviour(runs=35.0, exit_code=3),
    "sours": Behaviour(sours=45.0),
}
GOOD = ("web", "web", "web", "slow", "deaf", "long", "flaps", "sick", "hangs", "warms", "worker")  # that run for long
FINE = ("web", "web", "web", "slow", "deaf")  # that a service can be steady with
BAD = ("soon", "sick", "sick", "sours", "missing", "missing", "noentry")  # that no service is ever steady with
CRASH = "crash"  # one too, but a service starts it again at once, for ever
CHURNING = ("soon", "sick", "sours")  # those of them that are started as often as they end
ENDING = ("worker", "worker", "long", "leaks", "job")
SHORT = ("job", "flash", "init", "fails")
MOVING = ("web", "web", "slow", "deaf", "job")  # whose tag is moved, now and then


class Registry:
    """What tags of images name: another manifest after each push."""

    def __init__(self) -> None:
        self._pushed: dict[str, int] = {}

    def push(self, name: str) -> None:
        self._pushed[name] = self._pushed.get(name, 0) + 1

    def digest(self, reference: str) -> str:
        """Of what a reference names now: one with a digest names that for ever."""
        tagged, _, fixed = reference.partition("@")
        name = tagged.partition(":")[0]
        return fixed or f"sha256:{name.encode().hex():0>32}{self._pushed.get(name, 0):0>32}"


def behaviour(reference: str) -> Behaviour:
    name = reference.partition(":")[0]
    return SERVED[name] if name in SERVED else IMAGES[name]
