"""Names of datasets, as OpenLineage's own client gives them."""

import pytest
from openlineage.client.naming import dataset as naming

from headrace import UsageError
from headrace.lineage import Dataset
from headrace.lineage.datasets import MAX_TEXT, dataset_of, datasets_of

NAMES = {
    "postgres://warehouse:6543/shop/public/orders": naming.Postgres("warehouse", "6543", "shop", "public", "orders"),
    "postgresql+psycopg://me:secret@warehouse/shop/public/orders": naming.Postgres(
        "warehouse", "5432", "shop", "public", "orders"
    ),
    "postgres://warehouse/shop.public.orders": naming.Postgres("warehouse", "5432", "shop", "public", "orders"),
    "mysql://db/shop/orders": naming.MySQL("db", "3306", "shop", "orders"),
    "mariadb+pymysql://db/shop/orders": naming.MySQL("db", "3306", "shop", "orders"),
    "oracle://db/service/schema/orders": naming.Oracle("db", "1521", "service", "schema", "orders"),
    "trino://t/catalog/schema/orders": naming.Trino("t", "8080", "catalog", "schema", "orders"),
    "cassandra://c/space/orders": naming.Cassandra("c", "9042", "space", "orders"),
    "redshift://cluster.eu-west-1:5439/db/public/t": naming.Redshift(
        "cluster", "eu-west-1", "5439", "db", "public", "t"
    ),
    "snowflake://org-account/db/public/orders": naming.Snowflake("org", "account", "db", "public", "orders"),
    "bigquery://project/dataset/table": naming.BigQuery("project", "dataset", "table"),
    "s3://lake/orders/2026-01-01.parquet": naming.S3("lake", "orders/2026-01-01.parquet"),
    "s3a://lake/orders/2026-01-01.parquet?versionId=7": naming.S3("lake", "orders/2026-01-01.parquet"),
    "gs://lake/a%20b": naming.GCS("lake", "a b"),
    "abfss://raw@account.dfs.core.windows.net/orders": naming.ABFSS("raw", "account", "orders"),
    "hdfs://name:8020/data/orders": naming.HDFS("name", "8020", "data/orders"),
    "kafka://broker:9092/orders": naming.Kafka("broker", "9092", "orders"),
    "file:///data/orders.csv": naming.LocalFileSystem("/data/orders.csv"),
    "file://host/data/orders.csv": naming.RemoteFileSystem("host", "/data/orders.csv"),
}


@pytest.mark.parametrize("uri", NAMES)
def test_a_uri_becomes_the_names_that_others_use(uri):
    """Else what one tool writes would not be what another one reads."""
    found = dataset_of("x", uri)
    assert (found.namespace, found.name) == (NAMES[uri].get_namespace(), NAMES[uri].get_name())


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        (
            "postgres://me:secret@warehouse/shop/public/orders?password=secret",
            "postgres://warehouse:5432/shop.public.orders",
        ),
        ("https://me:secret@api.example.com/v1/orders?token=secret#x", "https://api.example.com/v1/orders"),
        ("abfss://raw:secret@account/x?sig=secret", "abfss://raw@account/x"),
        ("clickhouse://me:secret@db:8123/default/events", "clickhouse://db:8123/default.events"),
        ("file:///data/x", "file:///data/x"),
        ("bigquery://p/d/t", "bigquery://p.d.t"),
        ("postgres://[2001:db8::1]/shop/public/t", "postgres://[2001:db8::1]:5432/shop.public.t"),
        ("s3://bucket", "s3://bucket/"),
    ],
)
def test_what_is_shown_has_no_password(uri, shown):
    """It goes to the log, to a status and to others."""
    assert str(dataset_of("x", uri)) == shown


def test_what_is_shown_is_short():
    """A status has room for 16 of them."""
    assert len(str(dataset_of("x", f"s3://lake/{'k' * 2000}"))) == MAX_TEXT


@pytest.mark.parametrize("given", ["orders", "/data/orders.csv", "s3:/lake/x", "", None, 3, b"s3://lake/x", "s3://"])
def test_what_is_no_dataset_is_told_with_what_to_write(given):
    """With examples."""
    with pytest.raises(UsageError, match=r"x: .* is no dataset, expected a URI such as"):
        dataset_of("x", given)


def test_a_refusal_does_not_show_the_password():
    """It goes to the log as well."""
    with pytest.raises(UsageError) as refused:
        dataset_of("x", "1db://me:secret@warehouse/shop")
    assert "secret" not in str(refused.value)
    with pytest.raises(UsageError, match="cannot be read") as refused:
        dataset_of("x", "postgres://me:secret@warehouse:99999/shop")
    assert "secret" not in str(refused.value)


def test_a_list_names_each_once():
    """In its order; one alone needs no list."""
    one, two = Dataset("s3://lake", "one"), Dataset("s3://lake", "two")
    assert datasets_of("x", ["s3://lake/two", one, "s3://lake/one"]) == (two, one)
    assert datasets_of("x", "s3://lake/one") == (one,)
    assert datasets_of("x", None) == ()


@pytest.mark.parametrize(("namespace", "name"), [("", "x"), ("s3://lake", " "), (None, "x"), ("s3://lake", 3)])
def test_a_dataset_has_two_names(namespace, name):
    """Both are needed to find it again."""
    with pytest.raises(UsageError, match="expected some text"):
        Dataset(namespace, name)
