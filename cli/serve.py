"""`atrium serve` and `atrium worker`: the long-running commands."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
from typing import TYPE_CHECKING, Annotated

import typer

from cli import commands

if TYPE_CHECKING:
    from base.settings import Settings
    from server import Application

PORT = 8000
WORKERS_MAX = 64
DEMO_SHOWN_MAX = 3


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("serve")(serve)
    app.command("worker")(work)


def serve(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on; the embedded set-up is loopback's alone.")] = "",
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port to listen on.")] = PORT,
    workers: Annotated[int, typer.Option(min=1, max=WORKERS_MAX, help="Processes.")] = 1,
    no_worker: Annotated[bool, typer.Option("--no-worker", help="Leave background work to `atrium worker`.")] = False,
) -> None:
    """Serve GraphQL, the explorer and the embedded file store; background work runs beside it."""
    import functools

    from base import observe
    from execution import serving

    given = _settings(host or "127.0.0.1")
    if given.embedded:
        given = dataclasses.replace(given, origin=f"http://{given.base_domain}:{port}")
    commands.run(_check(given))
    if not no_worker:
        _refuse_ffmpeg(given)
    observe.to_standard_error()
    _refuse_taken(host or "127.0.0.1", port)
    with contextlib.ExitStack() as closing:
        given = _with_provider(given, host or "127.0.0.1", port=port, closing=closing)
        make = functools.partial(_app, given, with_worker=not no_worker)
        _greet(given, port)
        if not serving.serve(serving.configured(make, host=host or "127.0.0.1", port=port, workers=workers)):
            commands.fail("The server could not start; what is said above tells why.")


def _with_provider(given: Settings, host: str, *, port: int, closing: contextlib.ExitStack) -> Settings:
    """Where no payment provider is configured, the embedded set-up starts its own: one, however many processes serve.

    Another server over the same folder may have started it; then that one is used.
    """
    from outside.sandbox import place

    if not given.sandbox:
        return given
    folder = given.var / "sandbox"
    webhook = f"http://{f'[{host}]' if ':' in host else host}:{port}/webhooks/stripe"
    try:
        there = closing.enter_context(place.running(folder, webhook=webhook))
    except place.NotStarted as error:
        known = place.found(folder)
        if known is None:
            commands.fail(str(error))
        there = known
    return dataclasses.replace(
        given,
        stripe_api_base=there.api_base,
        stripe_secret_key=there.secret_key,
        stripe_webhook_secret=there.webhook_secret,
    )


def _app(given: Settings, *, with_worker: bool) -> Application:
    """The app of one of the serving processes, which begins with nothing set up."""
    from base import observe
    from server import create_app

    observe.to_standard_error()
    return create_app(given, with_worker=with_worker)


def work() -> None:
    """Do background work until a signal says stop: leases, relay, timers, clean-up."""
    from base import observe

    given = _settings("127.0.0.1")
    _refuse_ffmpeg(given)
    observe.to_standard_error()
    commands.OUT.print("Working; ctrl-C gives what is unfinished back and stops.")
    commands.run(_work(given))


async def _work(given: Settings) -> None:
    import asyncio
    import signal

    import worker
    from base import observe

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with commands.opened(given, hears=True) as house:
        observe.note(observe.Event.STARTED, worker=True)
        await worker.run(house, stop)
        observe.note(observe.Event.STOPPING)


async def _check(given: Settings) -> None:
    """Refuse databases that wait for a migration, with the command that mends them, and variables that are wrong."""
    from db.migrations import fleet

    await fleet.refuse_old(given.central_url, given.pools)
    await commands.refuse_wrong(given)


def _settings(host: str) -> Settings:
    from base import settings as variables

    try:
        return variables.read(loopback=host in ("127.0.0.1", "::1", "localhost"))
    except variables.SettingsError as error:
        commands.fail(f"{error}. See the table of variables in README.md.")


def _refuse_ffmpeg(given: Settings) -> None:
    """Say of another ffmpeg than ours what it lacks, before somebody's job finds out."""
    from outside import ffmpeg

    if given.ffmpeg is None:
        return
    try:
        ffmpeg.find_ffmpeg(given.ffmpeg)
    except ffmpeg.FfmpegUnusable as error:
        commands.fail(f"ATRIUM_FFMPEG: {error} Next: unset it, or name one of FFmpeg 6 or newer.")


def _refuse_taken(host: str, port: int) -> None:
    """Say in plain words what a taken port otherwise says with a trace."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OSError as error:
            commands.fail(
                f"Cannot listen on {host}:{port} ({error.strerror or error}). "
                f"Next: atrium serve --port {port + 1} (make run PORT={port + 1})"
            )


def _greet(given: Settings, port: int) -> None:
    """Tell a newcomer where to go."""
    from execution.explorer import demo_tenants

    at = "" if port == 80 else f":{port}"
    print_line = commands.OUT.print
    print_line(f"The API and its explorer: http://{given.base_domain}{at}/graphql")
    if given.sandbox:
        print_line(f"Payments in test mode:    {given.stripe_api_base} (our own provider; no money moves)")
    demo = [each["slug"] for each in demo_tenants(given)] if given.embedded else []
    for slug in demo[:DEMO_SHOWN_MAX]:
        print_line(f"A demo tenant:            http://{slug}.{given.base_domain}{at}/graphql")
    name = f"{demo[0] if demo else 'alice1'}.{given.base_domain}"
    if given.embedded and not _resolves(name):
        print_line(
            f"This machine's resolver does not know {name}: browsers and curl find it themselves, other "
            f"programs connect to 127.0.0.1 and send the header `Host: {name}{at}`.",
            markup=False,
        )
    print_line("Ctrl-C stops.")


def _resolves(name: str) -> bool:
    try:
        return bool(socket.getaddrinfo(name, 80))
    except OSError:
        return False
