"""``up``, ``down``, ``restart``, ``reset``, ``env``."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from homeport import config
from homeport.cli import CommandError, control, last_words, supervisor
from homeport.cli import public_pool as pools
from homeport.cli.flags import Flags
from homeport.cli.terminal import console, warn
from homeport.config import Listens, Secrets, Settings

State = Annotated[str | None, Parameter(name="--state", help="State folder (HOMEPORT_STATE, else /var/lib/homeport).")]
REQUIRED = {"containerd": "containerd", "runc": "runc", "nft": "nftables", "ip": "iproute2", "setpriv": "util-linux"}
S3_KEY = "s3 key"  # what the seal of Settings.s3_key is for
STOP_SECONDS = 40  # for tasks to stop by themselves at `down` and `reset`: their stop time-out is 30 s


def up(
    *,
    flags: Flags = Flags(),  # noqa: B008 (never changed)
    state: State = None,
    detach: Annotated[
        bool, Parameter(help="Return when the API answers and the node is registered.", negative="")
    ] = False,
) -> None:
    """Start Homeport: the control plane and one Fargate node on this machine."""
    root, given = flags.root(), flags.settings()
    from homeport.agent import membership

    if membership.file_of(str(config.state_folder(state))).exists():
        raise CommandError(f"{config.state_folder(state)} is the state of a node. Name another with --state DIR.")
    with config.alone(state):
        if running := _running(state):
            print(f"Homeport is already running on {running.endpoint}. Changed settings need: homeport down, then up.")
            return
        settings = _settings(state, given)
        process = _start(settings, root)
    _say_hello(settings)
    if not detach:
        _stay(process)


def _running(state: str | None) -> Settings | None:
    """The settings of a Homeport that already runs here, once it is ready."""
    settings = config.saved(state)
    if settings is None or supervisor.running(settings) is None:
        return None
    control.await_ready(settings, lambda: supervisor.running(settings) is not None)
    return settings


def _settings(state: str | None, flags: dict[str, Any]) -> Settings:
    """New or saved settings, checked against this machine, with a public pool, saved."""
    check_machine()
    settings = config.load_or_create(state, **flags)
    for at in settings.listens:
        if problem := _taken(at):
            option = "--tls-port" if at.tls else "--port"
            where = config.url("https" if at.tls else "http", at.host, at.port)
            raise CommandError(f"{where} can't be used: {problem}. Choose another port with {option}.")
    settings = _with_s3_key(pools.claimed(settings, asked=flags["public_pool"] is not None))
    config.save(settings)
    return settings


def check_machine() -> None:
    """Whether this machine can run tasks. Raises CommandError."""
    if os.geteuid() != 0:
        raise CommandError("Homeport makes network namespaces and runs containers: run it as root (sudo).")
    if missing := sorted({package for binary, package in REQUIRED.items() if not shutil.which(binary)}):
        raise CommandError(f"These programs are missing: {', '.join(missing)}. Install them with: make setup")


def _with_s3_key(settings: Settings) -> Settings:
    """A key that was handed over, sealed."""
    key = config.handed_s3_key()
    if key is None:
        return settings
    from homeport.services.iam import keys

    vault = keys.Vault(keys.load_master(str(settings.master_key)))
    return msgspec.structs.replace(settings, s3_key=vault.seal(key, S3_KEY))


def _taken(at: Listens) -> str | None:
    """Why the API can't listen where it shall, found out before anything is started."""
    family = socket.AF_INET6 if ":" in at.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((at.host, at.port))
            probe.listen()
        except OSError as error:
            return error.strerror
    return None


def detached(settings: Settings, root: Secrets) -> subprocess.Popen[bytes]:
    """A supervisor's process, in the background."""
    logs = settings.path("logs")
    logs.mkdir(mode=0o700, exist_ok=True)
    with (logs / "supervisor.log").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "homeport", "supervise", "--state", settings.state],
            env=config.with_secrets(root),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _start(settings: Settings, root: Secrets) -> subprocess.Popen[bytes]:
    """The supervisor's process, once everything is ready. Raises CommandError with the cause where it doesn't get so
    far; the supervisor has ended then."""
    before = last_words.position(settings)
    process = detached(settings, root)
    try:
        with _spinner("Starting Homeport"):
            control.await_ready(settings, lambda: process.poll() is None)
    except BaseException as error:
        process.terminate()
        process.wait()
        if not isinstance(error, control.NotReady):
            raise
        cause = last_words.since(settings, before) or str(error)
        raise CommandError(f"Homeport didn't start: {cause}\nIts logs are in {settings.path('logs')}.") from error
    return process


def _stay(process: subprocess.Popen[bytes]) -> None:
    """Until the supervisor ends, or Ctrl-C ends it."""
    print("Ctrl-C stops it; its tasks run on until `homeport down`.")
    try:
        process.wait()
    except KeyboardInterrupt:
        process.terminate()
        process.wait()


def _say_hello(settings: Settings) -> None:
    where = "" if settings.state == config.DEFAULT_STATE else f" --state {shlex.quote(settings.state)}"
    program = sys.argv[0] if sys.argv[0].endswith("homeport") else "homeport"
    outside = settings.listens[-1]
    if outside.tls:
        print(f"Other machines reach it by TLS: {config.url('https', outside.host, outside.port)}")
    elif not settings.local:
        warn("other machines reach the API by plain HTTP: whoever can listen reads and changes everything.")
    print(f"Homeport answers on {settings.endpoint}. Paste these to use it:")
    print(f'  eval "$({program} env{where})"')
    print("  aws ecs create-cluster --cluster-name demo")
    print(f"  {program} status{where}")


@contextlib.contextmanager
def _spinner(text: str) -> Iterator[None]:
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(text):
        yield


def down(
    *,
    state: State = None,
    keep_tasks: Annotated[bool, Parameter(help="Leave the tasks' containers running.", negative="")] = False,
) -> None:
    """Stop Homeport and everything that it started."""
    config.load(state)  # there is something to stop
    with config.alone(state):
        _down(config.load(state), keep_tasks)


def _down(settings: Settings, keep_tasks: bool) -> None:
    pid = supervisor.running(settings)
    away = _stop_tasks(settings) if pid and not keep_tasks else 0
    if pid:
        _end(settings, pid)
    if not keep_tasks:
        _clean_up(settings)
    print("Homeport is stopped." if pid else "Homeport wasn't running; nothing of it is left on this machine.")
    if away:
        one, many = "1 task may run on: its machine isn't", f"{away} tasks may run on: their machines aren't"
        warn(f"{one if away == 1 else many} connected.")


def _stop_tasks(settings: Settings) -> int:
    """How many may run on, where nobody could be told."""
    path, seconds = "/stop-tasks", str(STOP_SECONDS)
    with _spinner("Stopping tasks"), contextlib.suppress(CommandError):
        return int(control.ask(settings, path, method="POST", timeout=STOP_SECONDS + 10, seconds=seconds)["away"])
    return 0


def _clean_up(settings: Settings) -> None:
    from homeport.agent import cleanup
    from homeport.agent.drivers import DriverError
    from homeport.agent.network import NetworkError

    try:
        with _spinner("Cleaning up"):
            cleanup.everything(settings.instance, settings.state, settings.containerd)
    except (DriverError, NetworkError, OSError) as error:
        raise CommandError(f"Not everything could be removed: {error}") from error
    supervisor.remove_run_folder(settings)


def _end(settings: Settings, pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    _await(lambda: supervisor.running(settings) != pid, supervisor.GRACE * 2 + 5, "The supervisor did not end")


def _await(condition: Callable[[], bool], seconds: float, text: str) -> None:
    """Polls each 20 ms: another process's end is no event for one that isn't its parent."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise CommandError(f"{text} within {seconds:.0f} s.")
        time.sleep(0.02)


def restart(*, state: State = None) -> None:
    """Run the installed version anew, in place; tasks keep running."""
    settings = config.load(state)
    pid = supervisor.running(settings)
    if not pid:
        raise CommandError(f"Homeport isn't running in {settings.state}. Start it with: homeport up --detach")
    before = control.ask(settings, "/status")["control_plane"]["pid"]
    os.kill(pid, signal.SIGHUP)
    with _spinner("Restarting"):

        def renewed() -> bool:
            with contextlib.suppress(CommandError):
                return bool(control.ask(settings, "/status", timeout=5)["control_plane"]["pid"] != before)
            return False

        _await(renewed, 60, "The control plane was not back")
        control.await_ready(settings, lambda: True)
    print("Homeport is back; its tasks kept running.")


def reset(*, state: State = None) -> None:
    """Back to a fresh account (only for a Homeport started with `up --ephemeral`)."""
    settings = config.load(state)
    if not settings.ephemeral:
        raise CommandError(
            "This Homeport keeps its state. Only one that was started with `up --ephemeral` can be reset."
        )
    with _spinner("Resetting"):
        control.ask(settings, "/reset", method="POST", timeout=STOP_SECONDS + 10, seconds=str(STOP_SECONDS))
    console().print("The account is fresh again.")


def env(*, state: State = None) -> None:
    """Print export lines for the aws CLI, the SDKs and pasted tutorials."""
    settings = config.load(state)
    for name, value in control.ask(settings, "/environment").items():
        print(f"export {name}={shlex.quote(value)}")
