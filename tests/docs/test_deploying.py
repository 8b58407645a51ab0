"""The files of the page Deploying: each parses, and their time limits go together."""

from __future__ import annotations

import configparser
import inspect
import json
import re
import shlex
import subprocess
import sys

from aibind.server import StreamHandler, create_app
from aibind.server.bodies import MAX_BODY_BYTES
from aibind.streams.durable import HEARTBEAT_MS
from tests.docs.support import ROOT, read_blocks

PAGE = ROOT / "docs" / "deploying.md"
BLOCKS = {block.language: block.code for block in read_blocks(PAGE)}


def read_unit() -> configparser.SectionProxy:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[method-assign,assignment]
    unit.read_string(BLOCKS["ini"])
    return unit["Service"]


def read_docker_command() -> list[str]:
    command: list[str] = json.loads(re.findall(r"^CMD (\[.*\])$", BLOCKS["dockerfile"], re.MULTILINE)[0])
    return command


def test_uvicorn_has_the_options() -> None:
    ran = subprocess.run([sys.executable, "-m", "uvicorn", "--help"], capture_output=True, text=True, check=True)
    commands = [shlex.split(BLOCKS["sh"]), shlex.split(read_unit()["ExecStart"]), read_docker_command()]
    for command in commands:
        options = [word for word in command if word.startswith("--")]
        assert "--timeout-graceful-shutdown" in options
        for option in options:
            assert re.search(rf"{option}\b", ran.stdout), option


def test_each_limit_is_above_the_one_before() -> None:
    (grace_s,) = re.findall(r"running\(grace_s=(\d+)\)", PAGE.read_text(encoding="utf-8"))
    unit = read_unit()
    waits = {
        re.findall(r"graceful-shutdown\W+(\d+)", text)[0]
        for text in (BLOCKS["sh"], unit["ExecStart"], BLOCKS["dockerfile"])
    }
    assert len(waits) == 1
    assert int(grace_s) + 5 < int(waits.pop()) < int(unit["TimeoutStopSec"])
    assert inspect.signature(StreamHandler.running).parameters["grace_s"].default == int(grace_s)


def test_nginx_and_the_app_agree() -> None:
    text = BLOCKS["nginx"]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    assert all(re.fullmatch(r"[a-z_]+ .*[;{]|\}", line) for line in lines)
    assert text.count("{") == text.count("}")
    settings = dict(line.rstrip(";").split(" ", 1) for line in lines if line.endswith(";"))
    assert int(settings["proxy_read_timeout"].rstrip("s")) > HEARTBEAT_MS / 1000
    assert int(settings["client_max_body_size"].rstrip("m")) * 1024 * 1024 == MAX_BODY_BYTES
    assert inspect.signature(create_app).parameters["max_body_bytes"].default == MAX_BODY_BYTES


def test_the_other_files_parse() -> None:
    for line in BLOCKS["dockerfile"].splitlines():
        assert re.match(r"(FROM|WORKDIR|COPY|RUN|VOLUME|EXPOSE|CMD) ", line), line
    assert re.search(r"^  - path: /srv/chat/chat\.db$", BLOCKS["yaml"], re.MULTILINE)
