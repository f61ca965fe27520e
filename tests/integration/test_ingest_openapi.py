"""Ingest conforms to its OpenAPI document."""

from __future__ import annotations

from pathlib import Path

from deploy.local.service import Service
from tests.support.agencies import LAS_VEGAS, key_of
from tests.support.schemathesis_run import assert_as_described


async def test_ingest_conforms_to_its_openapi_document(ingest: Service, tmp_path: Path) -> None:
    await assert_as_described(ingest.url, f"Authorization: Bearer {key_of(LAS_VEGAS)}", scratch=tmp_path)
