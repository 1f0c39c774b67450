"""
Datasets, named as OpenLineage names them, so that what one tool writes is what another one reads.

    URI                                          namespace                   name
    postgresql://u:p@warehouse/shop/public/t     postgres://warehouse:5432   shop.public.t
    s3a://lake/orders/2026.parquet?versionId=7   s3://lake                   orders/2026.parquet
    file:///data/orders.csv                      file                        /data/orders.csv
    bigquery://project/dataset/table             bigquery                    project.dataset.table

Source: the naming conventions of OpenLineage (tests/unit/headrace/lineage/test_datasets.py asks its client).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from headrace.engine.ledger import Direction
from headrace.errors import UsageError, shown
from headrace.secrecy.redaction import redacted

__all__ = ["Dataset", "Datasets", "DatasetsOption", "Direction", "dataset_of", "datasets_of"]

MAX_TEXT: Final = 512
"""Characters of a dataset's URI as a status shows it."""

SAME: Final = {
    "postgresql": "postgres",
    "mariadb": "mysql",
    "sqlserver": "mssql",
    "s3a": "s3",
    "s3n": "s3",
    "gcs": "gs",
    "abfs": "abfss",
    "wasb": "wasbs",
    "bq": "bigquery",
}
"""Schemes that mean the same; a driver behind "+" is left out before."""
PORTS: Final = {
    "postgres": 5432,
    "mysql": 3306,
    "mssql": 1433,
    "oracle": 1521,
    "redshift": 5439,
    "trino": 8080,
    "hive": 10000,
    "cassandra": 9042,
    "crate": 5432,
    "db2": 50000,
    "teradata": 1025,
    "oceanbase": 2881,
}
"""Where databases listen, if the URI does not say: a namespace names the port."""
DOTTED: Final = frozenset({*PORTS, "snowflake", "spanner", "unitycatalog", "milvus", "bigquery", "clickhouse"})
"""Their names are written with dots: database.schema.table."""
CONTAINERS: Final = frozenset({"abfss", "wasbs"})
"""What stands before the "@" is no user, but where the files lie."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """
    A dataset by the names that OpenLineage gives it.

    Args:
        namespace: The data source, such as "postgres://warehouse:5432".
        name: In it, such as "shop.public.orders".
        facets: What OpenLineage knows beside the names, JSON by the facet's name, such as
            {"schema": {"fields": [{"name": "id", "type": "bigint"}]}}.
    """

    namespace: str
    name: str
    facets: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        for name in ("namespace", "name"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip():
                raise UsageError(f'Dataset: {name} is {shown(value)}, expected some text, such as "s3://bucket"')

    def with_facets(self, facets: Mapping[str, Any]) -> Dataset:
        """The same dataset with these facets beside its own."""
        return replace(self, facets={**self.facets, **facets}) if facets else self

    def __str__(self) -> str:
        """As one URI, at most 512 characters."""
        if "://" in self.namespace:
            uri = f"{self.namespace}/{self.name.removeprefix('/')}"
        else:
            uri = f"{self.namespace}://{self.name}"
        uri = redacted(uri)  # before it is cut: half of a secret would not be known
        return uri if len(uri) <= MAX_TEXT else uri[: MAX_TEXT - 1] + "…"


def dataset_of(label: str, given: object) -> Dataset:
    """
    The dataset that a URI names, without user, password, query and fragment; a Dataset is one already.

    Raises: UsageError: this is neither; `label` says what took it.
    """
    if isinstance(given, Dataset):
        return given
    if not isinstance(given, str) or not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://.", given):
        raise UsageError(
            f'{label}: {_without_secrets(given)} is no dataset, expected a URI such as "postgres://warehouse/shop/public/orders", '
            '"s3://bucket/key" or "file:///data/orders.csv", or a Dataset(namespace, name)'
        )
    return _parsed(label, given)


def datasets_of(label: str, given: object) -> tuple[Dataset, ...]:
    """One dataset, or a list of them. Raises: UsageError: one of them is none."""
    if given is None:
        return ()
    many = given if isinstance(given, Iterable) and not isinstance(given, str | Mapping) else (given,)
    return tuple(dict.fromkeys(dataset_of(label, each) for each in many))


def _parsed(label: str, uri: str) -> Dataset:
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{label}: {_without_secrets(uri)} cannot be read: {error}") from None
    plain = parts.scheme.partition("+")[0]
    scheme = SAME.get(plain, plain)
    host, path = parts.hostname or "", unquote(parts.path)
    if scheme == "file":
        return Dataset(f"file://{host}" if host else "file", path or "/")
    if scheme in CONTAINERS and parts.username:
        host = f"{parts.username}@{host}"
    elif scheme not in {*PORTS, *CONTAINERS}:  # buckets and projects are written as they are
        host = re.sub(r":\d*$", "", parts.netloc.rpartition("@")[2])
    port = port or PORTS.get(scheme)
    if ":" in host and scheme in PORTS:
        host = f"[{host}]"
    name = path.strip("/")
    if scheme in DOTTED:
        name = name.replace("/", ".")
    if scheme == "bigquery":
        return Dataset("bigquery", ".".join(filter(None, (host, name))))
    return Dataset(f"{scheme}://{host}{f':{port}' if port else ''}", name or "/")


def _without_secrets(given: object) -> str:
    return shown(re.sub(r"//[^/@]*@", "//", given) if isinstance(given, str) else given)


Datasets = str | Dataset | Iterable[str | Dataset]
"""One or more datasets, as authors write them."""
DatasetsOption = Datasets | Callable[[Mapping[str, Any]], Datasets]
"""As an option of a task: also a function of its parameters."""
