"""Flows of the tests of lineage that leaves the process."""

import time

from headrace import flow, lineage, task


@task(reads="postgres://me:secret@warehouse/shop/public/orders", writes="s3://lake/orders/{day}.csv")
def export(day):
    pass


@flow
def main(day: str = "2026-01-01"):
    export(day)


@flow
def sleeping():
    lineage.reads("s3://lake/a")
    print("sleeping", flush=True)
    time.sleep(60)
