"""The nginx of deploy/nginx.conf with ports, addresses and paths of here, for benchmarks and tests."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

CONFIGURATION = Path(__file__).parent.parent / "deploy" / "nginx.conf"
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def nginx_command() -> str | None:
    """nginx, which Debian puts where only root looks for commands."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


def nginx_arguments(nginx: str, folder: Path, port: int, replicas: Sequence[int]) -> list[str]:
    """How to start nginx on a loopback port before servers on others; what it writes goes to the folder."""
    file = folder / "nginx.conf"
    file.write_text(_adapted(CONFIGURATION.read_text(encoding="utf-8"), folder, port, replicas), encoding="utf-8")
    return [nginx, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(file)]


def _adapted(text: str, folder: Path, port: int, replicas: Sequence[int]) -> str:
    changes = {
        r"(\n +server replica-\d:4891;)+": "".join(f"\nserver 127.0.0.1:{replica};" for replica in replicas),
        r"\n +listen 80;": f"\nlisten 127.0.0.1:{port};",
        r"/run/nginx\.pid": f"{folder}/nginx.pid",
        r"/var/log/nginx/": f"{folder}/",
        r"\nhttp {": "\nhttp {" + "".join(f"\n{kind}_temp_path {folder}/{kind};" for kind in TEMPORARY),
    }
    for pattern, new in changes.items():
        text, count = re.subn(pattern, new, text)
        if not count:
            raise ValueError(f"{CONFIGURATION} has nothing like {pattern}")
    return text
