"""A real Ray cluster on this machine; skipped where Ray is not installed."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ray = pytest.importorskip("ray", reason="ray is not installed")

from protocols.engine.executors.base import WorkerDiedError  # noqa: E402
from protocols.engine.executors.cluster import RayExecutor  # noqa: E402
from tests.protocols.test_work import die, die_or_last, double, fail  # noqa: E402

pytestmark = pytest.mark.filterwarnings("default")  # Ray's own


@pytest.fixture(scope="module")
def cluster():
    executor = RayExecutor(1, workers=2)
    yield executor
    executor.close()


def test_results_and_exceptions_come_back(cluster):
    assert sorted(cluster.run(double, [(1,), (2,), (3,)])) == [(0, 2), (1, 4), (2, 6)]
    ((_, error),) = cluster.run(fail, [(7,)])
    assert isinstance(error, ValueError)


def test_a_task_that_dies_is_tried_twice_and_named(cluster):
    found = dict(cluster.run(die, [(0,), (1,), (2,)]))
    assert isinstance(found.pop(1), WorkerDiedError)
    assert found == {0: 0, 2: 2}


def test_a_task_that_hangs_is_stopped_and_named(cluster, monkeypatch):
    dict(cluster.run(double, [(1,), (2,)]))  # what starting takes is no part of a task
    monkeypatch.setattr(cluster, "limit", 12.0)
    found = dict(cluster.run(die_or_last, [(90,), (0.01,)]))
    assert "did not end within 12 s" in str(found[0])
    assert found[1] == 0.01


def test_nobody_answers_at_a_wrong_address():
    text = "from protocols.engine.executors.cluster import RayExecutor\nRayExecutor(1, address='127.0.0.1:1')"
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, check=False, timeout=120, env=_environment()
    )
    assert "expected a Ray cluster at 127.0.0.1:1" in done.stderr
    assert done.stdout == ""


def _environment() -> dict[str, str]:
    return {**os.environ, "RAY_gcs_rpc_server_reconnect_timeout_s": "5", "RAY_gcs_server_request_timeout_seconds": "5"}


def test_a_run_on_a_cluster_writes_nothing_but_the_report_and_resumes_after_its_driver_was_killed(tmp_path: Path):
    def command(executor: str, out: str) -> list[str]:
        return [
            sys.executable, "-m", "vfc", "attack", "--release", "identity", "--protocol", "transfer",
            "--budget", "smoke", "--executor", executor, "--workers", "2", "--set", "train.epochs=1",
            "--out", str(tmp_path / out), "--quiet",
        ]  # fmt: skip

    env = {**os.environ, "VFC_CACHE_DIR": str(tmp_path / "cache")}
    driver = subprocess.Popen(command("ray", "a"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
    until = time.monotonic() + 120
    while driver.poll() is None and time.monotonic() < until and not list((tmp_path / "a").glob("cells/*")):
        time.sleep(0.1)
    driver.kill()
    driver.wait()
    done = subprocess.run(command("ray", "a"), capture_output=True, text=True, check=True, timeout=300, env=env)
    assert done.stdout.strip() in ("measured", "inconclusive")
    subprocess.run(command("local", "b"), capture_output=True, check=True, timeout=300, env=env)
    digests = {json.loads((tmp_path / out / "report.json").read_text())["digest"] for out in "ab"}
    assert len(digests) == 1
