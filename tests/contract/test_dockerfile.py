"""The Dockerfile keeps what docs/images.md promises, read as data: no Docker is needed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from headrace_operator.manifests.pod import SDK_COMMAND
from tests.e2e.images.dockerfile import Config, Stage, parse

PROJECT = Path(__file__).parents[2]
STAGES = parse((PROJECT / "Dockerfile").read_text(), {"BASE_IMAGE": "registry.example/python:3"})


def the_config(stage: Stage) -> Config:
    """How containers of a stage start; what it is built on sets nothing."""
    config = Config()
    for step in stage.steps:
        config = config.after(step)
    return config


def test_every_image_is_built_on_the_base_that_is_asked_for() -> None:
    """`--build-arg BASE_IMAGE=…` leaves no other image to be fetched."""
    bases = {stage.base for stage in STAGES.values()} - set(STAGES)

    assert bases == {"registry.example/python:3"}


@pytest.mark.parametrize("target", ["runtime", "operator"])
def test_nobody_is_root(target: str) -> None:
    """The user is a number other than 0: the kubelet cannot check a name for `runAsNonRoot`."""
    user = the_config(STAGES[target]).user

    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user), user


@pytest.mark.parametrize("target", ["runtime", "operator"])
def test_images_hold_one_layer_above_their_base(target: str) -> None:
    """Neither sources nor what built them: nothing but what was installed is copied."""
    copied = [step.text for step in STAGES[target].steps if step.word in {"COPY", "RUN"}]

    assert copied == [f"--from=installed-{target} /out/ /"]


def test_the_operator_starts_by_itself() -> None:
    """Plain manifests name no command."""
    assert the_config(STAGES["operator"]).entrypoint == ("python3", "-m", "headrace_operator")


def test_the_runtime_adds_nothing_to_the_command_of_a_run() -> None:
    """Run pods bring a command; an entrypoint would be replaced by it, and a shell one would swallow signals."""
    assert SDK_COMMAND[0] == "python"
    assert the_config(STAGES["runtime"]).entrypoint == ()


def test_a_build_sees_what_it_copies_and_no_more() -> None:
    """Each name that COPY takes from the project is let in by .dockerignore, and nothing else is."""
    rules = (PROJECT / ".dockerignore").read_text().splitlines()
    let_in = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    steps = [step for stage in STAGES.values() for step in stage.steps if step.word == "COPY"]
    copied = {name for step in steps if "--from=" not in step.text for name in step.text.split()[:-1]}

    assert "*" in rules
    assert let_in == {"wheels" if name == "wheel[s]" else name for name in copied}


def test_an_instruction_that_is_not_known_is_refused() -> None:
    """What runs the Dockerfile without Docker must not leave a part of it out."""
    with pytest.raises(ValueError, match="'HEALTHCHECK' is not known"):
        parse("FROM base AS one\nHEALTHCHECK NONE\n", {})
