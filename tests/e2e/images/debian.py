"""
The image that the Dockerfile builds on, where `python:…-slim` cannot be had: Debian's Python, from Debian's packages.

Of the release that this machine runs. Packages are unpacked, not installed: none of their scripts runs.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOTS = ("python3", "coreutils", "dash", "findutils", "tar", "ca-certificates")
NEEDLESS = re.compile(
    r"c?debconf|dpkg|perl|libperl|install-info|libdebian-installer|libnewt|libslang|libtextwrap|mailcap|mime-support"
    r"|libgdbm|libdb5|libkrb5|libgssapi|libk5crypto|libkeyutils|libcom-err|libtirpc|libnsl|openssl$|readline-common"
)
"""What packages are set up with, which is not done here, and libraries of databases and of NIS."""
MERGED = ("bin", "lib", "lib64", "sbin")
DROPPED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/lintian")


def fetch(roots: Sequence[str], folder: Path) -> list[Path]:
    """
    The packages and those that they depend on, as files in `folder`; such as are there are not fetched again.

    Raises: subprocess.CalledProcessError: apt cannot fetch them; `apt-get update` helps where its lists are old.
    """
    folder.mkdir(parents=True, exist_ok=True)
    listed = _said("apt-cache", "depends", "--recurse", "--important", *roots)
    names = sorted({line for line in listed.splitlines() if re.match(r"\w", line) and not NEEDLESS.match(line)})
    printed = _said(
        "apt-get", "download", "--print-uris", *names, folder=Path("/")
    )  # files beside it would be left out
    files = [folder / line.split()[1] for line in printed.splitlines() if line.startswith("'")]
    if not all(each.exists() for each in files):
        _said("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", *names, folder=folder)
    return sorted(files)


def unpack(packages: Sequence[Path], root: Path) -> None:
    """Writes a root file system with these packages; what only people read is left out."""
    for name in MERGED:
        (root / "usr" / name).mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(f"usr/{name}")
    for package in packages:
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as reader:
            keep = ("--keep-directory-symlink", "--no-same-owner", "-p")
            subprocess.run(["tar", "-x", *keep, "-C", root], stdin=reader.stdout, check=True)
    for name in DROPPED:
        shutil.rmtree(root / name, ignore_errors=True)
    _finish(root)


def python_version(root: Path) -> str:
    """Such as `3.11`."""
    return max(each.name.removeprefix("python") for each in root.glob("usr/bin/python3.*[0-9]"))


def _finish(root: Path) -> None:
    """What the packages' scripts would have made, as far as a container needs it."""
    for name in ("tmp", "etc/ssl/certs", "proc", "sys", "dev", "run", "var/tmp", "root"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in ("tmp", "var/tmp"):
        (root / name).chmod(0o1777)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")
    (root / "etc/group").write_text("root:x:0:\nnogroup:x:65534:\n")
    if (root / "usr/bin/dash").exists():
        (root / "usr/bin/sh").unlink(missing_ok=True)
        (root / "usr/bin/sh").symlink_to("dash")
        (root / "usr/bin/python").symlink_to("python3")
    certificates = sorted(root.glob("usr/share/ca-certificates/**/*.crt"))
    (root / "etc/ssl/certs/ca-certificates.crt").write_bytes(b"".join(each.read_bytes() for each in certificates))


def _said(*command: str, folder: Path | None = None) -> str:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
