"""Two nodes of Ray for each test, where Ray is installed."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from tests.cluster.ray_nodes import Nodes

_WITH_RAY = ["test_cluster.py", "test_kills.py", "test_lent_images.py"]
collect_ignore = [] if find_spec("ray") else _WITH_RAY


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with Nodes() as started:
        started.join("b")
        yield started
