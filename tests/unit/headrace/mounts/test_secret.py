"""Secrets and variables, from mounted folders and from the environment."""

import pytest

from headrace import Secret, UsageError, Variable
from headrace.mounts.folders import entries, secret_values
from headrace.secrecy.redaction import MASK, SECRETS


@pytest.fixture
def mounted(tmp_path, monkeypatch):
    """Makes folders as the kubelet does: each key is a link to a file in a folder that is swapped as a whole."""

    def mount(variable, name, **content):
        data = tmp_path / variable / name / "..2026"
        data.mkdir(parents=True)
        (data.parent / "..data").symlink_to(data.name)
        for key, value in content.items():
            (data / key).write_bytes(value.encode() if isinstance(value, str) else value)
            (data.parent / key).symlink_to(f"..data/{key}")
        monkeypatch.setenv(variable, str(tmp_path / variable))

    return mount


def test_a_mounted_secret(mounted, secrets):
    """Its entries as texts and bytes; what is loaded is registered; its repr shows the keys."""
    mounted("HEADRACE_SECRETS_DIR", "postgres", user="loader", password="hunter2", key=b"\xff\x00\x01\x02")
    secret = Secret.load("postgres")
    assert (secret["user"], secret.get("password"), secret.data("key")) == ("loader", "hunter2", b"\xff\x00\x01\x02")
    assert (sorted(secret), len(secret)) == (["key", "password", "user"], 3)
    assert repr(secret) == f"<secret postgres: key={MASK}, password={MASK}, user={MASK}>"
    assert SECRETS.redacted("loader:hunter2") == f"{MASK}:{MASK}"
    with pytest.raises(UsageError, match="secret \"postgres\" has no key 'port'; its keys: key, password, user"):
        secret["port"]
    with pytest.raises(UsageError, match=r'"key" is no text; \.data\("key"\) gives its bytes'):
        secret["key"]
    with pytest.raises(UsageError, match="has no key 'value'"):
        secret.get()


def test_a_secret_of_one_entry_needs_no_key(mounted, secrets):
    """Whatever the key is."""
    mounted("HEADRACE_SECRETS_DIR", "token", token="abcd-efgh")
    assert Secret.load("token").get() == "abcd-efgh"


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("hunter2", None, "hunter2"),
        ('{"user": "etl", "password": "hunter2"}', "password", "hunter2"),
        ('{"retries": 3}', "value", '{"retries": 3}'),
        ("[1, 2]", None, "[1, 2]"),
    ],
)
def test_a_secret_on_a_laptop_is_a_variable(monkeypatch, secrets, text, key, value):
    """One text, or a JSON object of texts."""
    monkeypatch.setenv("HEADRACE_SECRET_DB_MAIN", text)
    assert Secret.load("db-main").get(key) == value
    assert MASK in SECRETS.redacted(value)


def test_a_secret_that_is_not_here_says_where_to_put_it():
    """In the cluster and on a laptop."""
    with pytest.raises(UsageError, match=r"spec\.secrets of the Flow; on a laptop set HEADRACE_SECRET_DB_MAIN"):
        Secret.load("db-main")


@pytest.mark.parametrize("name", ["../other", "a/b", "", "..", None])
def test_a_name_leads_nowhere_else(mounted, name):
    """It is one folder below the folder of secrets."""
    mounted("HEADRACE_SECRETS_DIR", "postgres", password="hunter2")
    with pytest.raises(UsageError, match="a name has letters"):
        Secret.load(name)


def test_what_a_process_must_not_show_is_known_from_its_environment(mounted, tmp_path):
    """Every entry of every mounted Secret, the variables that hold one, and those that stand in for one."""
    mounted("HEADRACE_SECRETS_DIR", "postgres", password="hunter2")
    mounted("HEADRACE_SECRETS_DIR", "token", token="abcd")
    variables = {
        "HEADRACE_SECRETS_DIR": str(tmp_path / "HEADRACE_SECRETS_DIR"),
        "HEADRACE_REDACT_ENV": "API_KEY,GONE",
        "API_KEY": "key-1",
        "HEADRACE_SECRET_X": "xyzxyz",
        "PATH": "/bin",
    }
    assert {value for value in secret_values(variables) if value} == {b"hunter2", b"abcd", "key-1", "xyzxyz"}
    assert list(entries(tmp_path / "absent")) == []


def test_a_variable_is_what_its_json_says(mounted, monkeypatch):
    """Else the text; the environment comes first; what is not there is the default."""
    mounted("HEADRACE_VARIABLES_DIR", "settings", batch="100", names='["a"]', region="eu-west", empty="")
    assert Variable.get("batch") == 100
    assert Variable.get("names") == ["a"]
    assert Variable.get("settings/region") == "eu-west"
    assert Variable.get("empty") == ""
    assert Variable.get("absent") is None
    assert Variable.get("other/batch", default=7) == 7
    monkeypatch.setenv("HEADRACE_VARIABLE_BATCH", "5")
    assert Variable.get("batch") == 5


def test_a_variable_in_two_config_maps_must_be_told_apart(mounted):
    """By the name of its ConfigMap."""
    mounted("HEADRACE_VARIABLES_DIR", "a", batch="1")
    mounted("HEADRACE_VARIABLES_DIR", "b", batch="2")
    with pytest.raises(
        UsageError, match=r'in the ConfigMaps a and b; say which one you mean: Variable\.get\("a/batch"\)'
    ):
        Variable.get("batch")
    assert Variable.get("b/batch") == 2


def test_a_folder_of_files_has_variables_too(tmp_path, monkeypatch):
    """As it is kept on a laptop."""
    (tmp_path / "batch").write_text("3")
    monkeypatch.setenv("HEADRACE_VARIABLES_DIR", str(tmp_path))
    assert Variable.get("batch") == 3


@pytest.mark.parametrize("name", ["../batch", "a/../b", ""])
def test_a_variable_leads_nowhere_else(name):
    """Names are those of keys."""
    with pytest.raises(UsageError, match="a name has letters"):
        Variable.get(name)
