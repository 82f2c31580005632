"""Each backend is opened once for all scenarios."""

from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import pytest_asyncio

from tests.conformance.backends import BACKENDS, Ground, Place

_SHARED = Path("/dev/shm")
MEMORY = _SHARED if _SHARED.is_dir() else None
"""Where files need no disk, on Linux: nothing here is about what survives the machine."""


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=list(BACKENDS))
async def ground(request: pytest.FixtureRequest) -> AsyncIterator[Ground]:
    """Yield one backend, open."""
    with TemporaryDirectory(prefix="zart-conformance-", dir=MEMORY) as folder:
        made = Ground(request.param, Place(Path(folder), request.getfixturevalue))
        await made.open()
        yield made
        await made.close()
