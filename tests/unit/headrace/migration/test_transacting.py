"""Transactions of Prefect's flows, in our words."""

import ast

import pytest

from headrace.migration.report import Outcome
from tests.unit.headrace.migration.migrating import migrated_text, module_of, texts

THEIRS = """\
from prefect import flow, task
from prefect.transactions import Transaction, get_transaction, transaction


@task(on_commit=[print])
def write(path):
    get_transaction().set("path", path)


@write.on_rollback
def undo(txn: Transaction):
    txn.get("path")


@flow
def main():
    with transaction("load-1", write_on_commit=False) as txn:
        if txn.is_committed():
            return
        write("a")
"""


def test_a_transaction_moves_with_its_hooks(tmp_path):
    """Nothing of it is left behind, and what differs is told."""
    found = migrated_text(tmp_path, "etl.py", THEIRS)
    new = module_of(found)
    assert "prefect" not in new
    assert "from headrace import Transaction, get_transaction, transaction" in new
    assert "@task(on_commit=[print])" in new
    assert "@write.on_rollback\ndef undo(txn: Transaction):" in new
    assert '    with transaction("load-1") as txn:\n' in new
    assert texts(found, Outcome.LEFT) == []
    changed = "\n".join(texts(found, Outcome.CHANGED))
    for words in ("a key is known to the runs of one Flow", "persist_result", "rolls nothing back"):
        assert words in changed
    compile(new, "etl.py", "exec")


@pytest.mark.parametrize("theirs", ["transaction", "atransaction"])
def test_in_an_async_flow_it_does_not_block_the_loop(tmp_path, theirs):
    """`async with`; a function with `def` inside of it stays as it is."""
    text = f"""\
from prefect import flow
from prefect.transactions import {theirs}


@flow
async def main():
    {"async " if theirs == "atransaction" else ""}with {theirs}():
        pass
"""
    new = module_of(migrated_text(tmp_path, "etl.py", text))
    assert "    async with transaction():\n        pass\n" in new
    assert "atransaction" not in new
    ast.parse(new)


def test_what_only_a_lost_argument_names_is_not_imported(tmp_path):
    """The module runs without Prefect."""
    text = (
        "from prefect import flow\nfrom prefect.transactions import IsolationLevel, transaction\n\n"
        "@flow\ndef main():\n"
        "    with transaction(key='a', isolation_level=IsolationLevel.SERIALIZABLE):\n        pass\n"
    )
    found = migrated_text(tmp_path, "etl.py", text)
    assert "prefect" not in module_of(found)
    assert "    with transaction(key='a'):\n" in module_of(found)
    assert any("hold a slot of a ConcurrencyLimit" in each for each in texts(found, Outcome.CHANGED))


def test_two_in_one_statement_are_told(tmp_path):
    """Somebody has to take them apart."""
    text = (
        "from prefect import flow\nfrom prefect.transactions import transaction\n\n"
        "@flow\nasync def main():\n    with transaction(), open('a'):\n        pass\n"
    )
    notes = texts(migrated_text(tmp_path, "etl.py", text), Outcome.LEFT)
    assert any("in a statement of its own" in each for each in notes)
