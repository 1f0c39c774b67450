"""Python on pages in which things are looked up: each block runs, with the names that its page leaves to the reader."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

from headrace.secrecy.redaction import SECRETS
from tests.pages import DOCS, Block, blocks

READ_IN_ORDER = {"tutorial.md", "howto.md"}
"""They are run by test_pages.py."""
BLOCKS = [
    pytest.param(block, id=f"{page.name}, {block.section or 'top'}, {number}")
    for page in sorted(DOCS.glob("*.md"))
    if page.name not in READ_IN_ORDER
    for number, block in enumerate(block for block in blocks(page) if block.language == "python")
]
BEFORE = {
    "composition.md": "from datetime import date\nfrom headrace import flow\n",
    "lineage.md": "rows = 3\n",
    "results.md": (
        "def download(day): return [day, day]\n"
        "def totals(rows): return {'rows': len(rows)}\n"
        "chunks = [b'a', b'b']\n"
        "def write_parquet(file): file.write(b'PAR1')\n"
    ),
    "secrets.md": (
        "from headrace import flow\nfrom pydantic import SecretStr\n"
        "logins = []\ndef connect(**login): logins.append(login)\n"
    ),
    "transactions.md": (
        "from headrace import flow, get_run_logger, get_transaction, task, transaction\n"
        "called = []\n"
        "def write_rows(path, region): called.append(region)\n"
        "def check(paths): assert paths == ['/data/north.csv', '/data/south.csv']\n"
        "notify = called.append\n"
        "@task(on_rollback=lambda txn: called.append('undone'))\n"
        "def export(region): called.append(region)\n"
        "def check_south(): raise ValueError('no')\n"
        "load = task(name='load')(lambda day: called.append(day))\n"
    ),
}
"""What a reader has of her own."""
AFTER = {
    "def rates(currency": "assert rates('EUR') is None",
    "return load(date.today())": "assert main() is None",
    "return load(extract(day)[:limit])": "assert main('2026-01-01') == 1",
    "def merge(files": "export(date(2026, 1, 1)); merge(['s3://lake/orders/a.parquet'])",
    "def release(version": "assert release('1.20') == 'deployed to 3'",
    "return train(prepare())": "assert main() is None",
    "return summarise(extract(day))": "assert main('2026-01-01') == {'rows': 2}",
    "for line in file": "assert line == b'PAR1'",
    'login = Secret.load("postgres")': "main(); assert logins == [{'user': 'loader', 'password': 'correct-horse'}]",
    "def main(password: SecretStr)": "main('correct-horse'); assert logins == [{'password': 'correct-horse'}]",
    "progress = create_progress_artifact": "main()",
    "paths = export.map": "main(); assert sorted(called[2:]) == ['/data/north.csv', '/data/south.csv']",
    "check_south()": "main(); assert called == ['north', 'south', 'undone']",
    'transaction(key=f"load-{day}")': "main('2026-01-01'); main('2026-01-01'); assert called == ['2026-01-01']",
}
"""How it is called, and what comes of it, by a text of the block."""
ENVIRONMENT = {
    "HEADRACE_ANSWERS": json.dumps({"deploy": {"decision": "Approve", "input": {"replicas": 3}}}),
    "HEADRACE_SECRET_POSTGRES": json.dumps({"user": "loader", "password": "correct-horse"}),
}


@pytest.fixture(autouse=True)
def secrets(monkeypatch):
    """What a block registers as secret is forgotten after it."""
    for name in ("forms", "told", "_starts"):
        monkeypatch.setattr(SECRETS, name, getattr(SECRETS, name))


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_runs(block: Block, tmp_path: Path, monkeypatch):
    """And returns what it should, where it can be called without a cluster."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    after = [code for text, code in AFTER.items() if text in block.text]
    file = tmp_path / "page.py"
    file.write_text("\n".join([BEFORE.get(block.page.name, ""), block.text, *after]))
    runpy.run_path(str(file), run_name="page")


@pytest.mark.parametrize("text", AFTER)
def test_every_call_belongs_to_one_block(text):
    """Not to one that is gone."""
    assert sum(text in parameters.values[0].text for parameters in BLOCKS) == 1
