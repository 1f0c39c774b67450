"""Packages of Debian that tests need, installed where this runs as root."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Final

PATIENCE_S: Final = 900
"""A network that stands still must not hold up the set-up for ever."""


def install(*packages: str) -> str:
    """
    Installs them, without what they merely recommend.

    Returns: What somebody has to do by hand; "" if they are there now.
    Raises: OSError, subprocess.SubprocessError: apt could not.
    """
    if not can_install():
        return f"install the packages {' '.join(packages)} of your system"
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "UCF_FORCE_CONFFOLD": "1"}
    kept = ("-o", "Dpkg::Options::=--force-confold")
    command = ("apt-get", "install", "-qq", "--yes", "--no-install-recommends", *kept, *packages)
    if subprocess.run(command, env=environment, capture_output=True, check=False, timeout=PATIENCE_S).returncode:
        update = ("apt-get", "update", "-qq")
        subprocess.run(update, env=environment, check=True, capture_output=True, timeout=PATIENCE_S)
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=PATIENCE_S)
    return ""


def can_install() -> bool:
    """Whether this machine lets us."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None
