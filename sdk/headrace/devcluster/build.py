"""
The control plane as one program, built once with Go and kept in the user's cache.

    ~/.cache/headrace/controlplane/
        lock                          held while one process builds; others wait for it
        v1.36.3-0f1e2d3c4b5a/         version, and hash of the Go module: a change of either builds anew
            controlplane              130 MB; takes minutes the first time, seconds with a warm Go build cache
            bin/etcd, kube-…, kubectl links to it: called by a component's name it is that component
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from headrace.devcluster.errors import BuildFailed, MissingTool
from headrace.devcluster.locking import one_at_a_time
from headrace.devcluster.progress import Progress

GO_MODULE = Path(__file__).parent / "controlplane"
COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
GO_NEEDED = (1, 21)
"""From here on, Go fetches the version that go.mod asks for by itself."""
TICK_S = 1.0
ERROR_LINES = 8


def kubernetes_version() -> str:
    """The Kubernetes version that the Go module builds, as `v1.36.3`."""
    found = re.search(r"^\s*k8s\.io/kubernetes (v\S+)$", (GO_MODULE / "go.mod").read_text(), re.MULTILINE)
    assert found, "go.mod names no k8s.io/kubernetes"
    return found[1]


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Where builds of every version are kept: `XDG_CACHE_HOME` or `~/.cache`, whether or not it exists."""
    root = environ.get("XDG_CACHE_HOME") or str(Path(environ.get("HOME", "~")).expanduser() / ".cache")
    return Path(root) / "headrace" / "controlplane"


def build_folder(environ: Mapping[str, str]) -> Path:
    """Where the build of this Go module is, or would be, kept."""
    digest = hashlib.sha256()
    for name in ("go.mod", "go.sum", "main.go"):
        digest.update((GO_MODULE / name).read_bytes())
    return cache_folder(environ) / f"{kubernetes_version()}-{digest.hexdigest()[:12]}"


def built(environ: Mapping[str, str]) -> Path | None:
    """The `bin` folder of a finished build, or None."""
    folder = build_folder(environ) / "bin"
    return folder if all(os.access(folder / name, os.X_OK) for name in COMPONENTS) else None


def build(environ: Mapping[str, str], progress: Progress) -> Path:
    """
    The `bin` folder of the build, made now unless it is there.

    Raises: MissingTool: no usable Go. BuildFailed: Go ended with an error.
    """
    with one_at_a_time(cache_folder(environ) / "lock", progress, "another process builds it; waiting"):
        ready = built(environ)
        if ready:
            return ready
        go = _go(environ)
        folder = build_folder(environ)
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = folder / "controlplane.unfinished"
        progress.step(f"building the Kubernetes {kubernetes_version()} control plane with {go} (once, some minutes)")
        started = time.monotonic()
        _compile(go, unfinished, environ, progress)
        unfinished.rename(folder / "controlplane")
        _link(folder)
        progress.step(f"built {folder / 'controlplane'} in {_elapsed(time.monotonic() - started)}")
        return folder / "bin"


def _link(folder: Path) -> None:
    (folder / "bin").mkdir(exist_ok=True)
    for name in COMPONENTS:
        link = folder / "bin" / name
        link.unlink(missing_ok=True)
        link.symlink_to("../controlplane")


def _go(environ: Mapping[str, str]) -> str:
    go = shutil.which("go", path=environ.get("PATH"))
    wanted = "install Go 1.26 (https://go.dev/dl), or point KUBEBUILDER_ASSETS at a folder with etcd, kube-apiserver, "
    wanted += "kube-controller-manager, kube-scheduler and kubectl"
    if go is None:
        msg = f"no Kubernetes control plane on this machine, and no Go to build one: {wanted}"
        raise MissingTool(msg)
    answer = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False, env=dict(environ))
    version = re.match(r"go(\d+)\.(\d+)", answer.stdout)
    if version and (int(version[1]), int(version[2])) < GO_NEEDED:
        msg = f"{go} is {answer.stdout.strip()}, too old to build the Kubernetes control plane: {wanted}"
        raise MissingTool(msg)
    return go


def _compile(go: str, target: Path, environ: Mapping[str, str], progress: Progress) -> None:
    version = kubernetes_version()
    major, minor = version.removeprefix("v").split(".")[:2]
    stamp = "k8s.io/component-base/version"
    flags = f"-s -w -X {stamp}.gitVersion={version} -X {stamp}.gitMajor={major} -X {stamp}.gitMinor={minor}"
    command = [go, "build", "-v", "-mod=readonly", "-trimpath", "-ldflags", flags, "-o", str(target), "."]
    environment = {**environ, "CGO_ENABLED": "0"}
    with subprocess.Popen(
        command,
        cwd=GO_MODULE,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            said = _follow(process, progress)
        except BaseException:  # an interrupted build must not go on alone
            process.terminate()
            raise
    if process.returncode:
        target.unlink(missing_ok=True)
        last = "\n".join(f"  {line}" for line in said.other[-ERROR_LINES:])
        msg = f"go build ended with status {process.returncode}; it fetches its modules once, which needs the "
        msg += f"network (GOPROXY), and several GB of disk for Go's cache. It said:\n{last}"
        raise BuildFailed(msg)


@dataclass(slots=True)
class _Said:
    """What `go build -v` wrote so far: a line a compiled package, a line a fetched module, and the rest."""

    compiled: int
    fetched: int
    other: list[str]

    def take(self, line: str) -> None:
        if line.startswith("go: downloading "):
            self.fetched += 1
        elif line and " " not in line:
            self.compiled += 1
        else:
            self.other.append(line)


def _follow(process: subprocess.Popen[str], progress: Progress) -> _Said:
    said = _Said(compiled=0, fetched=0, other=[])
    assert process.stderr is not None
    lines = process.stderr

    def read() -> None:
        for line in lines:
            said.take(line.rstrip())

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    started = time.monotonic()
    while reader.is_alive():
        reader.join(TICK_S)
        fetched = f"{said.fetched} modules fetched, " if said.fetched else ""
        progress.tick(f"{_elapsed(time.monotonic() - started)}: {fetched}{said.compiled} packages compiled")
    process.wait()
    return said


def _elapsed(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
