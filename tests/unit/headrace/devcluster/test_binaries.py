"""Where the programs of the control plane come from, and what a build says; `go` and the programs are scripts."""

from __future__ import annotations

import pytest

from headrace.devcluster import build as building
from headrace.devcluster.binaries import KUBERNETES, find_binaries, provide_binaries
from headrace.devcluster.build import COMPONENTS, build, build_folder, kubernetes_version
from headrace.devcluster.errors import BuildFailed, MissingTool

GO = """#!/bin/sh
if [ "$1" = env ]; then echo go1.26.0; exit; fi
echo "go: downloading k8s.io/api v0.36.3" >&2
echo k8s.io/api/core/v1 >&2
echo k8s.io/kubernetes/cmd/kube-apiserver/app >&2
while [ "$1" != -o ]; do shift; done
printf '#!/bin/sh\\n' > "$2"; /bin/chmod +x "$2"
"""


class Told:
    """Progress that remembers."""

    def __init__(self):
        self.steps, self.ticks = [], []

    def step(self, text):
        self.steps.append(text)

    def tick(self, text):
        self.ticks.append(text)


@pytest.fixture
def environ(tmp_path):
    """An environment with an empty PATH, assets and cache."""
    for name in ("bin", "assets", "cache"):
        (tmp_path / name).mkdir()
    return {
        "PATH": str(tmp_path / "bin"),
        "KUBEBUILDER_ASSETS": str(tmp_path / "assets"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }


def put(folder, *names, script="#!/bin/sh\n"):
    for name in names:
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)


def test_assets_come_before_the_path(environ, tmp_path):
    """KUBEBUILDER_ASSETS wins, name by name."""
    put(tmp_path / "assets", "etcd", *KUBERNETES)
    put(tmp_path / "bin", "etcd", "kubectl")
    found = find_binaries(environ)

    assert (found.etcd.parent.name, found.scheduler.parent.name) == ("assets", "assets")
    assert found.kubectl.parent.name == "bin"


def test_nothing_is_found_where_one_is_missing(environ, tmp_path):
    """Four of five are none."""
    put(tmp_path / "bin", *set(COMPONENTS) - {"etcd"})

    assert find_binaries(environ) is None


def test_a_lone_api_server_is_not_mixed_with_a_build(environ, tmp_path):
    """The assets of envtest lack controllers: all three components are built, etcd and kubectl are taken."""
    put(tmp_path / "assets", "etcd", "kube-apiserver", "kubectl")
    put(tmp_path / "bin", "go", script=GO)
    found = provide_binaries(environ, Told())

    assert found.apiserver == build_folder(environ) / "bin" / "kube-apiserver"
    assert found.scheduler.parent == found.apiserver.parent
    assert found.etcd.parent.name == found.kubectl.parent.name == "assets"


def test_a_build_is_made_once_and_shows_how_far_it_is(environ, tmp_path):
    """Steps that stay, a tick with counts, and the folder named by version and content."""
    put(tmp_path / "bin", "go", script=GO)
    told, again = Told(), Told()
    folder = build(environ, told)
    build(environ, again)

    assert folder.parent.name.startswith(f"{kubernetes_version()}-")
    assert {path.name for path in folder.iterdir()} == set(COMPONENTS)
    assert told.ticks[-1] == "0:00: 1 modules fetched, 2 packages compiled"
    assert again.steps == []
    assert list(folder.parent.glob("*.unfinished")) == []


def test_another_module_is_another_build(environ, tmp_path, monkeypatch):
    """A changed main.go or go.sum is not served from the cache."""
    module = tmp_path / "module"
    module.mkdir()
    for name in ("go.mod", "go.sum", "main.go"):
        (module / name).write_bytes((building.GO_MODULE / name).read_bytes())
    before = build_folder(environ)
    monkeypatch.setattr(building, "GO_MODULE", module)
    same = build_folder(environ)
    (module / "main.go").write_text("package main")

    assert before == same != build_folder(environ)


def test_without_go_it_says_what_to_install(environ):
    """Go 1.26, or the binaries."""
    with pytest.raises(MissingTool, match=r"install Go 1\.26 .*KUBEBUILDER_ASSETS"):
        provide_binaries(environ, Told())


def test_go_that_is_too_old_is_named(environ, tmp_path):
    """The version that was found, and the one to install."""
    put(tmp_path / "bin", "go", script="#!/bin/sh\necho go1.19.2\n")
    with pytest.raises(MissingTool, match=r"go1\.19\.2, too old .* install Go 1\.26"):
        build(environ, Told())


def test_a_failed_build_shows_the_last_words_and_leaves_nothing(environ, tmp_path):
    """No half a program stays."""
    script = GO.replace("/bin/chmod", "echo main.go:1:1: no disk left >&2; exit 1; /bin/chmod")
    put(tmp_path / "bin", "go", script=script)
    with pytest.raises(BuildFailed, match=r"status 1; (?s:.*)main\.go:1:1: no disk left"):
        build(environ, Told())

    assert list(build_folder(environ).iterdir()) == []
