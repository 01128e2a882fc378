"""Shared by the tests of the evaluation."""

from __future__ import annotations

import pytest

from scripts.evaluation.vectors import Embeddings
from tests.models import model_dir


@pytest.fixture(scope="module")
def embeddings(tmp_path_factory: pytest.TempPathFactory) -> Embeddings:
    return Embeddings(model_dir(), tmp_path_factory.mktemp("vectors"))
