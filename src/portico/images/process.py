"""Running a build's commands: on a leash, with a clean environment, line by line."""

from __future__ import annotations

import asyncio
import codecs
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from portico.images.leash import leashed

LONGEST_LINE = 64 * 1024

_PASSED_ON = {
    *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "NETRC", "PYENV_ROOT"),
    *("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "XDG_DATA_HOME"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NIX_SSL_CERT_FILE", "GIT_SSL_CAINFO"),
}
_PASSED_ON_PREFIXES = ("LC_", "SSL_", "UV_")

# uv settings that name another target than the one a build gives, or credentials that no installation needs.
_NEVER = re.compile(
    r"UV_(PUBLISH_.*|PYTHON|PYTHON_PREFERENCE|SYSTEM_PYTHON|MANAGED_PYTHON|NO_MANAGED_PYTHON"
    r"|BREAK_SYSTEM_PACKAGES|PROJECT|PROJECT_ENVIRONMENT)|PYTHONDONTWRITEBYTECODE|VIRTUAL_ENV"
)

_FORCED = {"UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1", "NO_COLOR": "1"}


def build_environment(
    server: Mapping[str, str], recipe: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Environment variables of a build: of the server's only what uv needs to reach an index, then the recipe's.

    Setup scripts of packages run in it, so nothing else that the server's environment holds may be there.
    """
    passed = {
        name: value
        for name, value in server.items()
        if name.upper() in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)
    }
    # pip treats every index alike; uv's own default takes the first index that has the package at all, which
    # breaks recipes written for pip that name an extra index. UV_INDEX_STRATEGY of server or recipe wins.
    merged = {"UV_INDEX_STRATEGY": "unsafe-best-match", **passed, **(recipe or {})}
    return {n: v for n, v in merged.items() if not _NEVER.fullmatch(n)} | _FORCED


async def run(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    said: Callable[[str], None],
    hold: Sequence[int] = (),
) -> int:
    """Run `command` to its end, `said` told each line it prints; return its exit status (128 + n for signal n).

    However this ends, by cancellation or by the death of this whole process, every process of the command
    ends with it. The descriptors `hold` stay open until they have: an advisory lock among them is not
    free earlier. Raises OSError where it cannot be started.
    """
    process = await asyncio.create_subprocess_exec(
        *leashed(command),
        env=env,
        cwd=cwd,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
        pass_fds=tuple(hold),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        await _lines(process.stdout, said)
        return await process.wait()
    finally:
        process.stdin.close()
        await process.wait()


async def _lines(stream: asyncio.StreamReader, said: Callable[[str], None]) -> None:
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    rest = ""
    while chunk := await stream.read(LONGEST_LINE):
        *lines, rest = (rest + decode(chunk)).replace("\r\n", "\n").split("\n")
        for line in lines:
            said(line)
        if len(rest) > LONGEST_LINE:
            said(rest)
            rest = ""
    rest += decode(b"", True)
    if rest:
        said(rest)
