"""`python -m headrace_dashboard`: settings, logging, a client of the cluster, the site."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import structlog
from aiohttp import web

from headrace.errors import UsageError
from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.config import Connection, load_connection
from headrace.kubeapi.errors import ConfigurationError
from headrace_dashboard.access.remembered import Remembered
from headrace_dashboard.access.rights import Rights
from headrace_dashboard.access.visitors import doorkeeper
from headrace_dashboard.recorded import Recorded
from headrace_dashboard.server import application, assets_version, static_files
from headrace_dashboard.settings import EVERYWHERE, OWN_RIGHTS, Settings, SettingsError, load_settings
from headrace_dashboard.site import AGENT, Site
from headrace_dashboard.watching.library import Library

log = structlog.get_logger()

EVENTS_TTL_S = 3.0
EVENTS_KEPT = 200
CALENDARS_TTL_S = 600.0
CALENDARS_KEPT = 32
SHUTDOWN_S = 3.0


def main() -> int:
    """The exit status: 0 after SIGTERM or SIGINT, 2 if it cannot start."""
    try:
        settings = load_settings()
        configure_logging(settings)
        asyncio.run(serve(settings, load_connection(context=settings.context or None)))
    except (SettingsError, ConfigurationError, UsageError) as error:
        sys.stderr.write(f"headrace-dashboard: {error}\n")
        return 2
    except OSError as error:  # the address cannot be listened on
        sys.stderr.write(f"headrace-dashboard: cannot listen: {error}\n")
        return 2
    return 0


async def serve(settings: Settings, connection: Connection) -> None:
    """Serves until a signal comes. Raises: OSError: the address cannot be listened on."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    async with serving(settings, connection):
        await stop.wait()
    log.info("dashboard_stopped")


@asynccontextmanager
async def serving(settings: Settings, connection: Connection) -> AsyncIterator[int]:
    """The port that the site listens on meanwhile. Raises: OSError."""
    async with (
        KubeClient(connection, user_agent=AGENT) as api,
        KubeClient(connection, user_agent=AGENT) as hands,
    ):
        site = a_site(settings, connection, api, hands)
        watching = asyncio.create_task(site.library.run(site.now))
        runner = web.AppRunner(application(site), access_log=None, shutdown_timeout=SHUTDOWN_S)
        try:
            await runner.setup()
            # 0.0.0.0 and :: are one family each, and a cluster may have either; without a host the loop listens on both.
            await web.TCPSite(runner, None if settings.host == EVERYWHERE else settings.host, settings.port).start()
            port = int(runner.addresses[0][1])
            if settings.auth == OWN_RIGHTS:
                log.warning("authentication_switched_off", host=settings.host)
            log.info("dashboard_started", host=settings.host, port=port, auth=settings.auth)
            yield port
        finally:
            await runner.cleanup()
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


def a_site(settings: Settings, connection: Connection, api: KubeClient, hands: KubeClient) -> Site:
    """All that requests share, put together."""
    clock_s = time.monotonic
    return Site(
        settings=settings,
        connection=connection,
        api=api,
        hands=hands,
        library=Library(api, settings.namespace),
        rights=Rights(api, settings.rights_ttl_s, clock_s, only=settings.namespace),
        door=doorkeeper(api, settings, clock_s),
        now=lambda: datetime.now(UTC),  # noqa: TID251 - the one clock of this process
        assets=assets_version(static_files()),
        events=Remembered(EVENTS_TTL_S, EVENTS_KEPT, clock_s),
        calendars=Remembered(CALENDARS_TTL_S, CALENDARS_KEPT, clock_s),
        recorded=Recorded(settings.history_url, clock_s) if settings.history_url else None,
    )


def configure_logging(settings: Settings) -> None:
    """Sends every record of this process to standard output, one line each."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    rendering = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if settings.log_format == "json"
        else [structlog.dev.ConsoleRenderer()]
    )
    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            *rendering,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stdout),
    )
    logging.basicConfig(level=max(level, logging.WARNING), stream=sys.stdout)


if __name__ == "__main__":
    sys.exit(main())
