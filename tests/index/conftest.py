from __future__ import annotations

import pytest

from cacheserver.index.models import OnnxEmbedder
from tests.models import model_dir


@pytest.fixture(scope="session")
def embedder() -> OnnxEmbedder:
    """The model that serves, on one thread."""
    return OnnxEmbedder(model_dir())
