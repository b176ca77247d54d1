"""Images built from Dockerfiles: what the instructions do, and that pods start from the result."""

from __future__ import annotations

import asyncio
import io
import json
import os
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs
import pytest

from harbor_aws.infra.errors import PermanentError, UsageError
from harbor_aws.infra.local.kubernetes.pods.containers import ContainerRuntime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="containers need root"),
]

DEBIAN = platformdirs.user_cache_path("harbor-aws-kubernetes") / "debian.tar"
EVERYTHING = """\
# syntax=docker/dockerfile:1
ARG BASE=debian:bookworm
FROM ${BASE} AS builder
ARG VERSION=1.2
ENV GREETING="hello world" PLACE=/opt/app
WORKDIR $PLACE
COPY sub/ ./
COPY --chmod=755 r*n.sh /usr/local/bin/
RUN echo "$GREETING $VERSION" > greeting.txt && \\
    # a comment
    run.sh >> greeting.txt
RUN <<EOT
set -e
echo heredoc >> greeting.txt
EOT
RUN --mount=type=cache,target=/var/cache/x touch /var/cache/x/gone

FROM scratch AS unused
RUN false

FROM debian:bookworm
COPY --from=builder --chown=nobody:nogroup /opt/app/greeting.txt /srv/
COPY --from=builder /opt/app /srv/app
COPY --from=builder /var/cache/x /srv/cache
RUN ["/bin/sh", "-c", "rm /etc/debian_version; rm -r /etc/skel; mkdir /etc/skel; touch /tmp/kept"]
ADD data.tar.gz /data/
COPY <<EOT /etc/conf.d/x
value of $GREETING.
EOT
USER nobody
WORKDIR /made/by
ENV SHOWN=1
ENTRYPOINT ["/bin/sh", "-c", "echo $0 $@; exec sleep infinity"]
CMD ["one", "two"]
"""


def context(dockerfile: str, files: dict[str, str | bytes] | None = None) -> AsyncIterator[bytes]:
    """A build context as a tar stream; a name that ends in ``.sh`` is executable, ``-> x`` is a symbolic link."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in {"Dockerfile": dockerfile, **(files or {})}.items():
            member = tarfile.TarInfo(name)
            member.mode = 0o755 if name.endswith(".sh") else 0o644
            member.uid = 1000
            data = content.encode() if isinstance(content, str) else content
            if data.startswith(b"-> "):
                member.type, member.linkname, data = tarfile.SYMTYPE, data[3:].decode(), b""
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(buffer.getvalue()), 1000):
            yield buffer.getvalue()[start : start + 1000]

    return chunks()


def archive(**files: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"inner/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content.encode()))
    return buffer.getvalue()


async def build(
    runtime: ContainerRuntime, image: str, dockerfile: str, files: dict[str, str | bytes] | None = None
) -> str:
    return b"".join([chunk async for chunk in await runtime.build(image, context(dockerfile, files))]).decode()


async def in_pod(runtime: ContainerRuntime, image: str, script: str, **container: Any) -> str:
    """What a shell script prints in a new pod of an image."""
    running = asyncio.Event()

    def report(_: str, status: dict[str, Any]) -> None:
        if status["phase"] != "Pending":
            running.set()

    main = {"name": "main", "image": image, **({"command": ["sleep", "infinity"]} | container)}
    pod = {"metadata": {"name": "p", "uid": "p"}, "spec": {"restartPolicy": "Never", "containers": [main]}}
    await runtime.start(pod, report)
    async with asyncio.timeout(20):
        await running.wait()
        process = await runtime.exec("p", "main", ["sh", "-c", script], stdin=False, tty=False)
        out = b"".join([chunk async for chunk in process.stdout()])
        process.detach()
    await runtime.stop("p", grace_seconds=0)
    return out.decode().strip()


def kept(state: Path) -> list[str]:
    """What is left besides the layers."""
    return sorted(str(one.relative_to(state)) for one in state.glob("*") if one.name != "images")


@pytest.fixture(params=["host", "debian"])
async def runtime(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ContainerRuntime]:
    """A runtime whose images stand on this machine's root, and one whose images stand on an archive."""
    if request.param == "debian" and not DEBIAN.exists():
        pytest.skip(f"there is no {DEBIAN}")
    rootfs = {"debian:bookworm": DEBIAN} if request.param == "debian" else {}
    made = ContainerRuntime(tmp_path / "state", rootfs)
    yield made
    await made.close()
    assert kept(tmp_path / "state") == []
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[ContainerRuntime]:
    made = ContainerRuntime(tmp_path / "state", {})
    yield made
    await made.close()
    assert kept(tmp_path / "state") == []


async def test_a_dockerfile_with_everything(runtime: ContainerRuntime) -> None:
    """Several stages, arguments, here-documents, copies of every kind, archives, users: pods see what they should."""
    files: dict[str, str | bytes] = {
        "sub/one": "1",
        "sub/deep/.hidden": "2",
        "sub/link": "-> one",
        "run.sh": "#!/bin/sh\nid -u\n",
        "data.tar.gz": archive(a="A"),
    }
    log = await build(runtime, "made/everything:1", EVERYTHING, files)
    assert "Dockerfile line 12: RUN <<EOT" in log
    script = """
        cat /srv/greeting.txt; stat -c '%U %G %a' /srv/greeting.txt; stat -c '%U %a' /srv/app/one /usr/local/bin
        readlink /srv/app/link; cat /srv/app/deep/.hidden /data/inner/a; echo
        ls -A /srv/cache /etc/skel /tmp; cat /etc/conf.d/x; test -e /etc/debian_version || echo removed
        pwd; id -un; echo $SHOWN; stat -c '%U' /made/by
    """
    assert await in_pod(runtime, "made/everything:1", script) == (
        "hello world 1.2\n0\nheredoc\nnobody nogroup 644\nroot 644\nroot 755\none\n2A\n"
        "/etc/skel:\n\n/srv/cache:\n\n/tmp:\nkept\nvalue of .\nremoved\n/made/by\nnobody\n1\nnobody"
    )


async def test_the_images_own_command(host: ContainerRuntime) -> None:
    """ENTRYPOINT and CMD start a pod that names no command; args replace CMD alone."""
    await build(
        host, "image", 'FROM a\nENTRYPOINT ["/bin/sh", "-c", "echo $0 $@; exec sleep infinity"]\nCMD ["one", "two"]\n'
    )
    assert await first_line(host, {"name": "main", "image": "image"}) == b"one two\n"
    assert await first_line(host, {"name": "main", "image": "image", "args": ["three"]}) == b"three\n"


async def first_line(runtime: ContainerRuntime, container: dict[str, Any]) -> bytes:
    """What a container prints first."""
    running = asyncio.Event()

    def report(_: str, status: dict[str, Any]) -> None:
        if status["phase"] == "Running":
            running.set()

    await runtime.start({"metadata": {"name": "p", "uid": "p"}, "spec": {"containers": [container]}}, report)
    await running.wait()
    log = runtime.logs("p", "main", follow=True, tail_lines=None, limit_bytes=None)
    line = await anext(aiter(log))
    await runtime.stop("p", grace_seconds=0)
    return line


async def test_a_failed_instruction_is_named_and_leaves_nothing(host: ContainerRuntime, tmp_path: Path) -> None:
    """The error has the line, the instruction, the exit code and the end of its output; there is no image then."""
    with pytest.raises(PermanentError) as raised:
        await build(host, "image", "FROM a\nRUN true\nRUN echo before; exit 9\n")
    assert "Dockerfile line 3: RUN echo before; exit 9: exit code 9" in str(raised.value)
    assert str(raised.value).endswith("\nbefore")
    assert list((tmp_path / "state/images/built").iterdir()) == []
    assert list((tmp_path / "state/builds").iterdir()) == []
    assert await in_pod(host, "image", "echo as before") == "as before"


@pytest.mark.parametrize(
    ("dockerfile", "message"),
    [
        ("FROM a\nRUN touch /x\nONBUILD RUN x\n", "line 3: the instruction ONBUILD is not supported"),
        ("FROM a\nCOPY missing /\n", 'line 2: COPY missing /: "missing": not found'),
        ("FROM a\nCOPY ??? /dst\n", "line 2: COPY ??? /dst: several sources"),
        ("FROM a\nUSER nobody-knows\nRUN id\n", "line 3: RUN id: unable to find user nobody-knows"),
        ("FROM scratch\nRUN id\n", "line 2: RUN id: exec:"),
    ],
)
async def test_what_cannot_be_done_is_refused(host: ContainerRuntime, dockerfile: str, message: str) -> None:
    """Errors of the Dockerfile and of the context name the line."""
    with pytest.raises(PermanentError) as raised:
        await build(host, "image", dockerfile, {"one": "1", "two": "2"})
    assert message in str(raised.value)


async def test_a_context_without_a_dockerfile(host: ContainerRuntime) -> None:
    """A context that is no archive, or has no Dockerfile, is a permanent error."""

    async def garbage() -> AsyncIterator[bytes]:
        yield b"not a tar"

    with pytest.raises(PermanentError, match="cannot be unpacked"):
        _ = [chunk async for chunk in await host.build("image", garbage())]


async def test_dockerignore_keeps_files_out(host: ContainerRuntime) -> None:
    """What .dockerignore names is not there to be copied, not even the Dockerfile."""
    files: dict[str, str | bytes] = {
        ".dockerignore": "*.md\nDockerfile\n!keep.md\n",
        "a.md": "",
        "keep.md": "",
        "b": "",
    }
    await build(host, "image", "FROM a\nCOPY . /copied\n", files)
    assert await in_pod(host, "image", "ls -A /copied") == ".dockerignore\nb\nkeep.md"


async def test_a_context_cannot_lead_out_of_the_image(host: ContainerRuntime, tmp_path: Path) -> None:
    """A link in the context to an absolute path means the context's own root, a member outside of it is refused."""
    (tmp_path / "secret").write_text("secret")
    with pytest.raises(PermanentError, match=r"not found|No such file"):
        await build(host, "image", "FROM a\nCOPY link /copied\n", {"link": f"-> {tmp_path}/secret"})
    with pytest.raises(PermanentError, match="cannot be unpacked"):
        await build(host, "image", "FROM a\nCOPY . /copied\n", {"../../escaped": "x"})
    assert not (tmp_path / "state" / "escaped").exists()


async def test_processes_of_an_instruction_end_with_it(host: ContainerRuntime) -> None:
    """What a RUN leaves running is gone in the next one."""
    log = await build(host, "image", "FROM a\nRUN sleep 1000 &\nRUN set -- /proc/[0-9]*; echo $#\n")
    assert "\n1\n" in log  # the shell


async def test_an_image_is_built_once(host: ContainerRuntime, tmp_path: Path) -> None:
    """Builds of one image at once share one build, a later one does nothing, nor does one of a restarted runtime."""
    dockerfile = "FROM a\nRUN sleep 0.3; date +%N > /stamp\n"
    logs = await asyncio.gather(*(build(host, "image", dockerfile) for _ in range(3)))
    assert len(set(logs)) == 1
    stamp = await in_pod(host, "image", "cat /stamp")
    assert await build(host, "image", "FROM a\nRUN exit 1\n") == "image is built already.\n"
    assert await in_pod(host, "docker.io/library/image:latest", "cat /stamp") == stamp
    await host.close()
    second = ContainerRuntime(tmp_path / "state", {})
    try:
        assert await in_pod(second, "image", "cat /stamp") == stamp
    finally:
        await second.close()


async def test_an_image_on_a_built_image(host: ContainerRuntime) -> None:
    """FROM a built image goes on from its files and its configuration."""
    await build(host, "first", "FROM a\nENV A=1\nWORKDIR /w\nRUN echo one > f; rm /etc/issue\n")
    await build(host, "second", "FROM first\nRUN echo two $A >> f\nCOPY --from=first /w/f /from\n")
    assert await in_pod(host, "second", "pwd; cat f /from; ls /etc/issue 2>&1 | wc -l") == "/w\none\ntwo 1\none\n1"
    assert await in_pod(host, "first", "cat /w/f") == "one"


async def test_closing_stops_a_build(tmp_path: Path) -> None:
    """A build that runs when the runtime closes fails, and nothing is left of it."""
    runtime = ContainerRuntime(tmp_path / "state", {})
    building = asyncio.create_task(build(runtime, "image", "FROM a\nRUN echo here; sleep 1000\n"))
    async with asyncio.timeout(10):
        while not any((tmp_path / "state/builds").glob("*/work/1/*/work")):
            await asyncio.sleep(0.02)
    await runtime.close()
    with pytest.raises(Exception, match=r"exit code 137|stopped"):
        await building
    assert kept(tmp_path / "state") == []


async def test_export(tmp_path: Path) -> None:
    """An image on a directory is exported as one layer with its configuration, one on this machine's root is not."""
    base = tmp_path / "base"
    (base / "etc").mkdir(parents=True)
    (base / "etc" / "gone").write_text("x")
    (base / "a").write_text("a")
    (base / "b").hardlink_to(base / "a")
    runtime = ContainerRuntime(tmp_path / "state", {"base": base})
    out = tmp_path / "out.tar"
    try:
        await build(runtime, "image:2", "FROM base\nCOPY f /d/\nENV A=1\nUSER 7\nCMD x\n", {"f": "content"})
        await runtime.export_image("image:2", out)
        await build(runtime, "on-host", "FROM other\n")
        with pytest.raises(UsageError, match="root file system"):
            await runtime.export_image("on-host", tmp_path / "no.tar")
    finally:
        await runtime.close()
    with tarfile.open(out) as tar:
        (manifest,) = json.load(tar.extractfile("manifest.json") or io.BytesIO())
        config = json.load(tar.extractfile(manifest["Config"]) or io.BytesIO())
        with tarfile.open(fileobj=tar.extractfile(manifest["Layers"][0])) as layer:
            members = {member.name: member for member in layer}
    assert manifest["RepoTags"] == ["docker.io/library/image:2"]
    assert "A=1" in config["config"]["Env"]
    assert (config["config"]["User"], config["config"]["Cmd"]) == ("7", ["/bin/sh", "-c", "x"])
    assert set(members) == {"a", "b", "d", "d/f", "etc", "etc/gone"}
    assert members["b"].islnk()
    assert (members["d/f"].size, members["d/f"].uid) == (7, 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "out.tar", "state"]
