"""A compilation whose job was never written gets one at the next start, however many came after it."""

from pathlib import Path

from api.compile_jobs import requeue_forgotten
from api.service import open_service
from api.settings import Settings


def test_an_old_compilation_is_not_forgotten_behind_a_thousand_newer_ones(tmp_path: Path) -> None:
    with open_service(Settings(home=tmp_path)) as service:
        oldest = service.store.create_compilation({}, "oldest")
        for _ in range(1000):
            newer = service.store.create_compilation({}, "newer")
            service.store.set_compilation(newer.id, "failed", error="for this test")
        requeue_forgotten(service)
        (claim,) = service.store.claim("worker", ("compile_shard",), 10, service.store.now(), 30)
        assert claim.payload == {"compilation": oldest.id}
