"""
Programs in Go that tests and benchmarks need beside us, built once from a module of the tree and kept in the user's cache.

    ~/.cache/headrace/tools/
        kwok.lock                     held while one process builds
        kwok-0f1e2d3c4b5a/            hash of go.mod, go.sum and programs of ours: a change of any builds anew
            kwok                      the program
            module/                   what its module holds beside it, as far as `keep` names it
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from headrace.devcluster.build import cache_folder
from headrace.devcluster.errors import BuildFailed, MissingTool
from headrace.devcluster.locking import one_at_a_time
from headrace.devcluster.progress import Progress

NICE = ("nice", "-n", "19")
"""A build takes minutes of every core; whoever works at the machine goes first."""


@dataclass(frozen=True, slots=True)
class Tool:
    """
    A program, and the module of ours that names its version.

    Attributes:
        folder: With go.mod and go.sum.
        module, package: Where the program comes from, and which of its packages it is.
        keep: A folder of that module that is kept beside the program; "" for none.
        tags: Of the build.
        needs_c: It is built with cgo, by a C compiler.
    """

    name: str
    folder: Path
    module: str
    package: str
    keep: str = ""
    tags: tuple[str, ...] = ()
    needs_c: bool = False

    @property
    def version(self) -> str:
        """As go.mod requires it, such as `v0.8.0`."""
        words = [line.split() for line in (self.folder / "go.mod").read_text().splitlines()]
        after = [each[1:] if each[:1] in (["require"], ["tool"]) else each for each in words]
        return next(each[1] for each in after if each[:1] == [self.module] and len(each) > 1)

    @property
    def home(self) -> Path:
        """Where its build is, or would be, kept."""
        digest = hashlib.sha256()
        for path in (self.folder / "go.mod", self.folder / "go.sum", *sorted(self.folder.glob("*.go"))):
            digest.update(path.read_bytes())
        return tools_folder() / f"{self.name}-{digest.hexdigest()[:12]}"

    @property
    def program(self) -> Path:
        """Its file, if it is built."""
        return self.home / self.name

    @property
    def kept(self) -> Path:
        """What `keep` names, if it is built."""
        return self.home / "module"

    @property
    def is_built(self) -> bool:
        """Whether `program` may be called; it is written last."""
        return os.access(self.program, os.X_OK)


def tools_folder() -> Path:
    """Where builds are kept, beside those of the control plane."""
    return cache_folder(os.environ).parent / "tools"


def provide(tool: Tool, progress: Progress) -> Tool:
    """
    The tool, built now unless it is there.

    Raises: MissingTool: no Go. BuildFailed: Go ended with an error.
    """
    if tool.is_built:  # nobody has to wait then, not even for one who builds another version
        return tool
    with one_at_a_time(tools_folder() / f"{tool.name}.lock", progress, f"another process builds {tool.name}; waiting"):
        if not tool.is_built:
            progress.step(f"building {tool.name} {tool.version} with Go (once, some minutes)")
            began_s = time.monotonic()
            _build(tool)
            progress.step(f"built {tool.program} in {time.monotonic() - began_s:.0f} s")
    return tool


def _build(tool: Tool) -> None:
    if shutil.which("go") is None:
        msg = f"no Go to build {tool.name} with: install Go 1.26 (https://go.dev/dl)"
        raise MissingTool(msg)
    tool.home.mkdir(parents=True, exist_ok=True)
    unfinished = tool.home / "unfinished"
    flags = ("-mod=readonly", "-trimpath", "-ldflags=-s -w", f"-tags={','.join(tool.tags)}")
    _go(tool, "build", *flags, "-o", str(unfinished), tool.package)
    if tool.keep:
        source = _go(tool, "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", tool.module).strip()
        shutil.copytree(Path(source) / tool.keep, tool.kept, dirs_exist_ok=True, copy_function=shutil.copyfile)
    unfinished.rename(tool.program)


def _go(tool: Tool, *arguments: str) -> str:
    environment = {**os.environ, "CGO_ENABLED": str(int(tool.needs_c))}
    done = subprocess.run(
        [*NICE, "go", *arguments], cwd=tool.folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = "\n".join(f"  {line}" for line in done.stderr.splitlines()[-8:])
        msg = f"go {arguments[0]} of {tool.name} ended with status {done.returncode}; it fetches its modules once, "
        msg += f"which needs the network (GOPROXY), and some GB of disk for Go's cache. It said:\n{said}"
        raise BuildFailed(msg)
    return done.stdout
