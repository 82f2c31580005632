"""What is said to a node of a cluster, as opposed to a server that is alone."""

import pytest

from zart.clock import SECOND
from zart.records import Commit, Move, StepRecord, Token
from zart.schedulers.mysql.cluster import Cluster
from zart.schedulers.mysql.commit import commit
from zart.schedulers.mysql.queries import Names
from zart.schedulers.mysql.talk import Answer, Talk
from zart.schedulers.sql.news import News
from zart.status import ExecutionStatus, Phase, StepKind

NODE = Cluster(size=3, place=1)


class Heard:
    """A connection that takes down what is said, and has executions 1 and 2 run under fence 7."""

    def __init__(self) -> None:
        self.packets: list[str] = []

    @staticmethod
    def literal(text: str) -> str:
        return f"'{text}'"


class Listening(Talk):
    async def _send(self, packet: bytes) -> list[Answer]:
        said = packet.decode().split(";\n")
        self.connection.packets.append(packet.decode())
        running = [(key, 7, "running", 0, 0) for key in (1, 2)]
        return [Answer(1, running if "FOR UPDATE SKIP LOCKED" in each else ()) for each in said]


def talk(cluster: Cluster | None) -> Talk:
    return Listening(Heard(), Names("zart_").queries(), 1, 1.0, "here", 2**20, cluster)


def said_of(key: int, move: Move | None = None) -> Commit:
    return Commit(Token(f"e{key}", 1, key, 7), [StepRecord(1, "s", StepKind.STEP, Phase.OUTCOME)], 0, move)


@pytest.mark.parametrize("cluster", [NODE, None])
async def test_whoever_saves_a_step_changes_the_executions_row_too_where_locks_are_not_shared(cluster):
    asked = talk(cluster)
    await commit(asked, [said_of(1), said_of(2, Move(ExecutionStatus.COMPLETED))], News())
    touched = [each for packet in asked.connection.packets for each in packet.split(";\n") if "claimed_at + 1" in each]
    assert [each.endswith("IN (1)") for each in touched] == ([] if cluster is None else [True])


@pytest.mark.parametrize("cluster", [NODE, None])
async def test_a_node_is_told_one_statement_at_a_time(cluster):
    asked = talk(cluster)
    await asked.whole("SELECT 1", "SELECT 2")
    assert len(asked.connection.packets) == (1 if cluster is None else 4)


def test_a_node_claims_of_its_own_bucket_first_and_of_the_others_five_seconds_later():
    keys = range(1, 28, 3)  # as the first of three nodes gives them
    ranks = [[Cluster(3, place).rank(0, key) for key in keys] for place in range(3)]
    assert [sorted(each) for each in zip(*ranks, strict=True)] == [[0, 5 * SECOND, 5 * SECOND]] * len(keys)
    assert {tuple(each).count(0) for each in ranks} == {3}
    assert Cluster(1, 0).rank(9, 4) == 9
