"""
Runs the stages of a Dockerfile in folders: a stage is what it adds to its base, laid over it while a command runs.

Needs root, for the namespaces and the overlay of each `RUN`. A command sees no network: all it installs is in the context.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.images.dockerfile import Config, Stage, Step

RUN = """
set -e
mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=$UPPER,workdir=$WORK" "$MERGED"
mount --bind /dev "$MERGED/dev"
mount -t proc proc "$MERGED/proc"
exec chroot "$MERGED" /usr/bin/env -i PATH=/usr/local/bin:/usr/bin:/bin sh -c "$SCRIPT"
"""
BASE = Config(environment=(("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),))
"""What every base image sets: without it no command is found."""
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", "*.egg-info")
"""As .dockerignore says."""


@dataclass(frozen=True, slots=True)
class Context:
    """
    What a build takes.

    Attributes: `root` the project; `wheels` the folder that stands for its `wheels`; `base` the root file system of
        every image that is no stage; `arguments` as of `--build-arg`.
    """

    root: Path
    wheels: Path
    base: Path
    arguments: Mapping[str, str] = field(default_factory=dict)

    def files(self, pattern: str) -> list[Path]:
        """What a name or pattern of COPY finds, sorted."""
        if pattern.startswith("wheel"):
            return [self.wheels]
        return sorted(self.root.glob(pattern.removeprefix("./")))


@dataclass(frozen=True, slots=True)
class Built:
    """A stage that has run: what it adds, above what its bases add, and how its containers start."""

    added: tuple[Path, ...]
    config: Config


class Build:
    """
    Stages of one Dockerfile, each run once, in `folder`.

    Args:
        kept: Where stages stay whose names begin with `packages-`; those that are there do not run again.
    """

    def __init__(self, stages: Mapping[str, Stage], context: Context, *, folder: Path, kept: Path) -> None:
        self._stages = stages
        self._context = context
        self._folder = folder
        self._kept = kept
        self._built: dict[str, Built] = {}

    def stage(self, name: str) -> Built:
        """The stage, run now unless it has. Raises: subprocess.CalledProcessError: a command of it failed."""
        if name not in self._built:
            self._built[name] = self._run_stage(self._stages[name])
        return self._built[name]

    def _run_stage(self, stage: Stage) -> Built:
        below = self.stage(stage.base) if stage.base in self._stages else Built((), BASE)
        keeps = stage.name.startswith("packages-")
        added = (self._kept if keeps else self._folder) / stage.name
        if not added.exists():
            unfinished = added.with_name(f"{stage.name}.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            self._run_steps(stage, below, unfinished)
            unfinished.rename(added)
        config = below.config
        for step in stage.steps:
            config = config.after(step)
        return Built((*below.added, added), config)

    def _run_steps(self, stage: Stage, below: Built, added: Path) -> None:
        config, variables = below.config, dict(below.config.environment)
        for step in stage.steps:
            if step.word == "ARG":
                name, _, default = step.text.partition("=")
                variables[name] = self._context.arguments.get(name, default)
            elif step.word == "COPY":
                self._copy(step, added / config.folder.lstrip("/"), added)
            elif step.word == "RUN":
                self._run(step, (*below.added, added), config.folder, variables)
            config = config.after(step)

    def _copy(self, step: Step, folder: Path, root: Path) -> None:
        *names, goal = step.text.split()
        target = root / goal.lstrip("/") if goal.startswith("/") else folder / goal
        if names[0].startswith("--from="):
            layers = self.stage(names.pop(0).removeprefix("--from=")).added
            sources = [found for each in layers for name in names if (found := each / name.lstrip("/")).exists()]
            ignore = None
        else:
            sources, ignore = [found for name in names for found in self._context.files(name)], LEFT_OUT
        target.mkdir(parents=True, exist_ok=True)
        for source in sources:
            if source.is_dir():
                shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True, ignore=ignore)
            else:
                shutil.copy2(source, target)

    def _run(self, step: Step, layers: tuple[Path, ...], folder: str, variables: Mapping[str, str]) -> None:
        *below, upper = layers
        work, merged = self._folder / "work", self._folder / "merged"
        for each in (work, merged):
            each.mkdir(exist_ok=True)
        exported = "".join(f"export {name}='{value}'\n" for name, value in variables.items())
        environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LOWER": ":".join(str(each) for each in (*reversed(below), self._context.base)),
            "UPPER": str(upper),
            "WORK": str(work),
            "MERGED": str(merged),
            "SCRIPT": f"{exported}cd {folder}\n{step.text}",
        }
        alone = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", RUN]
        done = subprocess.run(alone, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            msg = f"RUN {step.text} ended with status {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
            raise RuntimeError(msg)
        shutil.rmtree(work)
