"""``python -m harbor_aws.infra.local.kubernetes``: the embedded Kubernetes as a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
from pathlib import Path

from harbor_aws.infra.local.kubernetes.api.serve import serving
from harbor_aws.infra.local.kubernetes.pods.cgroup import RECORD
from harbor_aws.infra.local.kubernetes.pods.containers import ContainerRuntime


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m harbor_aws.infra.local.kubernetes", description=__doc__)
    parser.add_argument("--state-dir", type=Path, required=True, help="where the kubeconfig and the pods' files go")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 means any (default)")
    parser.add_argument(
        "--rootfs",
        type=_rootfs,
        action="append",
        default=[],
        metavar="IMAGE=DIR_OR_TAR",
        help="the root file system of an image; every other image is this machine's own",
    )
    arguments = parser.parse_args()
    arguments.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    asyncio.run(_serve(arguments.state_dir, arguments.port, dict(arguments.rootfs)))


async def _serve(state_directory: Path, port: int, rootfs: dict[str, Path]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runtime = ContainerRuntime(state_directory / RECORD.parent, rootfs)
    async with serving(runtime, kubeconfig=state_directory / "kubeconfig", port=port):
        await stop.wait()


def _rootfs(text: str) -> tuple[str, Path]:
    image, found, path = text.rpartition("=")
    if not found or not image or not Path(path).exists():
        raise argparse.ArgumentTypeError(f"{text!r} is not IMAGE=DIR_OR_TAR with a directory or tar that exists")
    return image, Path(path).resolve()


if __name__ == "__main__":
    main()
