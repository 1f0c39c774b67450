"""MySQL and MariaDB, through PyMySQL."""

from __future__ import annotations

import os
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote

import pymysql
from pymysql.constants import CR, ER

from headrace.errors import UsageError
from headrace.results.places import without_password

ROW_BYTES: Final = 4 << 20
CONNECT_TIMEOUT_S: Final = 10
SILENCE_S: Final = 60
"""After which a server that neither takes nor answers anything counts as gone."""
PORT: Final = 3306
OPTIONS: Final = ("unix_socket", "ssl_ca", "ssl_cert", "ssl_key", "ssl_verify_cert", "ssl_verify_identity")
LOST: Final = (
    CR.CR_SERVER_GONE_ERROR,
    CR.CR_SERVER_LOST,
    ER.SERVER_SHUTDOWN,
    ER.NORMAL_SHUTDOWN,
    1927,  # MariaDB: the connection was killed
)


class MySQL:
    """As promised by Dialect."""

    time = "(timestamp '1970-01-01 00:00:00' + interval %s second)"  # from_unixtime() ends in 2038
    upsert = (
        "on duplicate key update parts = values(parts), token = values(token), data = values(data), "
        "created = values(created), expires = values(expires)"
    )
    keep = "on duplicate key update name = headrace_results.name"
    snapshot: tuple[str, ...] = (
        "set transaction isolation level repeatable read",
        "start transaction with consistent snapshot, read only",
    )
    schema: tuple[str, ...] = (
        """
        create table if not exists headrace_results (
          name varbinary(1024) not null,
          part integer not null,
          parts integer not null,
          token varchar(32) not null,
          data longblob not null,
          created datetime(6) not null,
          expires datetime(6),
          primary key (name, part),
          key headrace_results_expires (expires)
        ) engine = InnoDB
        """,
    )

    @property
    def error(self) -> type[Exception]:
        """What its driver raises."""
        return pymysql.MySQLError

    def connect(self, url: SplitResult, password: str) -> Any:
        """A connection by what the URL says. Raises: UsageError: it has an option that is not known."""
        return pymysql.connect(
            host=url.hostname or "localhost",
            port=url.port or PORT,
            user=unquote(url.username or ""),
            password=password or os.environ.get("MYSQL_PWD", ""),
            database=unquote(url.path.strip("/")),
            charset="utf8mb4",
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=SILENCE_S,
            write_timeout=SILENCE_S,
            **_options(url),
        )

    def cursor(self, connection: Any) -> Any:
        """As promised by Dialect."""
        return connection.cursor()

    def name(self, name: str) -> Any:
        """As promised by Dialect: bytes, which no collation takes for others."""
        return name.encode()

    def ready(self, cursor: Any) -> int:
        """As promised by Dialect: what goes over the wire may be twice as long as what a row holds."""
        cursor.execute("set session transaction isolation level read committed")
        cursor.execute("select @@max_allowed_packet")
        return min(ROW_BYTES, int(cursor.fetchone()[0]) // 2 - 8192)

    def is_lost(self, error: Exception) -> bool:
        """As promised by Dialect."""
        return isinstance(error, pymysql.InterfaceError) or (bool(error.args) and error.args[0] in LOST)

    def is_deadlock(self, error: Exception) -> bool:
        """As promised by Dialect."""
        return bool(error.args) and error.args[0] in {ER.LOCK_DEADLOCK, ER.LOCK_WAIT_TIMEOUT}

    def is_no_table(self, error: Exception) -> bool:
        """As promised by Dialect."""
        return bool(error.args) and error.args[0] == ER.NO_SUCH_TABLE


def _options(url: SplitResult) -> dict[str, Any]:
    given = dict(parse_qsl(url.query))
    for name in given:
        if name not in OPTIONS:
            raise UsageError(
                f'results URL "{without_password(url.geturl())}": there is no option "{name}" for MySQL; '
                f"known are {', '.join(OPTIONS)}"
            )
    return {name: value == "true" if name.startswith("ssl_verify") else value for name, value in given.items()}
