"""Ingest is as its served OpenAPI document says."""

from __future__ import annotations

from pathlib import Path

from deploy.local.parts import KafkaPart
from tests.support import processes
from tests.support.agencies import LAS_VEGAS, key_of
from tests.support.schemathesis_run import assert_as_described


async def test_ingest_is_as_its_document_says(kafka: KafkaPart, agencies_file: Path, tmp_path: Path) -> None:
    variables = {"DDOR_KAFKA_BOOTSTRAP": kafka.bootstrap, "DDOR_AGENCIES_FILE": str(agencies_file)}
    ingest = processes.service("ingest", tmp_path, variables)
    ingest.start()
    try:
        await assert_as_described(ingest.url, f"Authorization: Bearer {key_of(LAS_VEGAS)}", scratch=tmp_path)
    finally:
        assert ingest.stop(), "SIGTERM ended it"
