"""The Inspector's side of a SQL scheduler: what is asked of it is read only where the schema is this code's."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Protocol

from zart.records import Backlog, Execution, History, Page, Query
from zart.status import ExecutionStatus


class Inspection(Protocol):
    """Reads what is durable."""

    async def get(self, execution_id: str, run: int | None) -> Execution | None:
        """Return one run of an execution, the current one by default."""
        ...

    async def history(self, execution_id: str, run: int | None) -> History:
        """Return the records and mail of a run; empty when there is none."""
        ...

    async def find(self, query: Query) -> Page:
        """Return a page of executions; one after an unknown id is empty."""
        ...

    async def count(self, query: Query) -> Mapping[ExecutionStatus, int]:
        """Return how many executions match, by status; `limit`, `offset` and `after` do not apply."""
        ...

    async def backlog(self) -> Backlog:
        """Return how much is due and claimed by nobody."""
        ...


class Inspected(ABC):
    """A scheduler that can be read."""

    _inspection: Inspection

    @abstractmethod
    def _check_usable(self) -> None:
        """Make sure that it is open, and that the schema is this code's."""

    async def get(self, execution_id: str, run: int | None = None) -> Execution | None:
        """Return one run of an execution, the current one by default."""
        self._check_usable()
        return await self._inspection.get(execution_id, run)

    async def history(self, execution_id: str, run: int | None = None) -> History:
        """Return the records and mail of a run; empty when there is none."""
        self._check_usable()
        return await self._inspection.history(execution_id, run)

    async def find(self, query: Query) -> Page:
        """Return a page of executions; one after an unknown id is empty."""
        self._check_usable()
        return await self._inspection.find(query)

    async def count(self, query: Query) -> Mapping[ExecutionStatus, int]:
        """Return how many executions match, by status; `limit`, `offset` and `after` do not apply."""
        self._check_usable()
        return await self._inspection.count(query)

    async def backlog(self) -> Backlog:
        """Return how much is due and claimed by nobody."""
        self._check_usable()
        return await self._inspection.backlog()
