"""Starting, reading, sending and cancelling over HTTP, on every backend."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.http.conftest import V1, Spoken


async def started(spoken: Spoken, key: str = "p-1", task: str = "pipeline", data=None, **more):
    body = {"task": task, "data": {"dataset": "sales", "rows": 3} if data is None and task == "pipeline" else data}
    return await spoken.operator.post(f"{V1}/executions", json={**body, "idempotency_key": key, **more})


async def until(spoken: Spoken, key: str, wanted):
    """Return the execution once it is as wanted; each look waits a little at the server."""
    while True:
        found = (await spoken.reader.get(f"{V1}/executions/{key}/wait?timeout=0.02")).json()
        if wanted(found):
            return found


async def test_the_whole_way(spoken):
    answer = await started(spoken)
    assert answer.status_code == 201
    assert answer.headers["location"] == f"{V1}/executions/p-1"
    assert answer.json()["execution_id"] == "p-1"
    waiting = await until(spoken, "p-1", lambda found: found["waiting_for"])
    assert waiting["current_step"] == "await-approval"
    assert waiting["waiting_for"] == [{"name": "await-approval", "kind": "event", "deadline": None}]
    assert [step["name"] for step in waiting["steps"]] == ["extract", "await-approval"]
    assert waiting["data"] == {"dataset": "sales", "rows": 3}
    sent = await spoken.operator.post(f"{V1}/events/p-1/approval", json={"approved": True})
    assert (sent.status_code, sent.json()["result"]) == (202, "recorded")
    ended = await spoken.reader.get(f"{V1}/executions/p-1/wait", params={"timeout": 20})
    assert (ended.status_code, ended.json()["output"]) == (200, {"rows_written": 6})
    shown = await spoken.reader.get(f"{V1}/executions/p-1")
    assert shown.json() == ended.json()


async def test_the_same_start_again_is_the_same_start_even_after_the_end(spoken):
    assert (await started(spoken, "f-1", "fails")).status_code == 201
    ended = (await spoken.reader.get(f"{V1}/executions/f-1/wait?timeout=20")).json()
    assert (ended["status"], ended["error"]["kind"], ended["output"]) == ("failed", "StepFailure", None)
    again = await started(spoken, "f-1", "fails")
    assert (again.status_code, again.json()["status"], again.json()["repeated"]) == (200, "failed", True)


async def test_a_key_is_not_given_to_other_work(idle):
    await started(idle)
    other_data = await started(idle, data={"dataset": "other"})
    other_task = await started(idle, task="fails")
    for answer in (other_data, other_task):
        assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_mismatch")


async def test_the_order_of_keys_is_not_other_data(idle):
    await started(idle, data={"dataset": "a", "rows": 2})
    assert (await started(idle, data={"rows": 2, "dataset": "a"})).status_code == 200


async def test_another_run_is_opened_when_asked_for_and_only_where_allowed(idle):
    await started(idle)
    assert (await started(idle, reuse="ended")).status_code == 200  # it lives: this is that start
    await idle.operator.post(f"{V1}/executions/p-1/cancel")
    opened = await started(idle, reuse="failed", start_key="k")
    assert (opened.status_code, opened.json()["run"]) == (201, 2)
    assert (await idle.reader.get(f"{V1}/executions/p-1?run=1")).json()["status"] == "cancelled"
    assert (await started(idle, reuse="failed", start_key="k")).json()["run"] == 2


async def test_a_key_is_made_where_none_is_given(idle):
    answer = await idle.operator.post(f"{V1}/executions", json={"task": "fails"})
    made = answer.json()["execution_id"]
    assert (await idle.reader.get(f"{V1}/executions/{made}")).json()["status"] == "pending"


async def test_delay_and_time_are_kept(idle):
    delayed = (await started(idle, "a", delay="2h")).json()
    seconds = (await started(idle, "b", delay=7200)).json()
    at = datetime(2033, 5, 1, 8, tzinfo=UTC)
    fixed = (await started(idle, "c", at=at.isoformat())).json()
    apart = datetime.fromisoformat(seconds["scheduled_at"]) - datetime.fromisoformat(delayed["scheduled_at"])
    assert apart < timedelta(minutes=1)
    assert datetime.fromisoformat(fixed["scheduled_at"]) == at
    both = await started(idle, "d", delay=1, at=at.isoformat())
    assert (both.status_code, both.json()["code"]) == (422, "invalid_request")


@pytest.mark.parametrize(
    ("body", "code", "path"),
    [
        ({"task": "pipeline", "data": {"rows": 1}}, "invalid_data", "data.dataset"),
        ({"task": "pipeline", "data": {"dataset": "a", "rows": "1"}}, "invalid_data", "data.rows"),
        ({"task": "nobody"}, "task_not_registered", "nobody"),
        ({"data": 1}, "invalid_request", "task"),
        ({"task": "fails", "idempotency-key": "a"}, "invalid_request", "idempotency-key"),
        ({"task": "fails", "idempotency_key": "a\u200bb"}, "invalid_request", "idempotency_key"),
        ({"task": "fails", "delay": -1}, "invalid_request", "delay"),
        ({"task": "fails", "delay": "soon"}, "invalid_request", "delay"),
        ({"task": "fails", "delay": True}, "invalid_request", "delay"),
        ({"task": "fails", "at": "2033-05-01T08:00:00"}, "invalid_request", "at"),
        ([], "invalid_request", "object"),
    ],
)
async def test_a_start_that_is_wrong_says_where(idle, body, code, path):
    answer = await idle.operator.post(f"{V1}/executions", json=body)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, code)
    assert path in problem["detail"]
    assert answer.headers["content-type"] == "application/problem+json"
    assert (await idle.reader.get(f"{V1}/executions")).json()["executions"] == []


async def test_ids_may_hold_slashes_dots_and_letters_of_any_script(idle):
    for key, path in (("a/b", "a%2Fb"), ("ä?#%", "%C3%A4%3F%23%25"), ("a b", "a%20b"), ("...", "...")):
        assert (await started(idle, key)).status_code == 201
        assert (await idle.reader.get(f"{V1}/executions/{path}")).json()["execution_id"] == key
    assert (await idle.operator.post(f"{V1}/events/a%2Fb/x%2Fy", json=1)).json()["event"] == "x/y"


async def test_an_event_is_sent_once_and_its_payload_is_any_json(spoken):
    await started(spoken)
    for payload in (None, 1, "x", [1], {"approved": True}):
        key = {"idempotency-key": f"e-{json.dumps(payload)}"}
        path = f"{V1}/events/p-1/other"
        assert (await spoken.operator.post(path, json=payload, headers=key)).status_code == 202
        again = await spoken.operator.post(path, json=payload, headers=key)
        assert (again.status_code, again.json()["result"]) == (200, "duplicate")
    assert (await spoken.operator.post(f"{V1}/events/p-1/other")).status_code == 202  # no body is null
    await spoken.operator.post(f"{V1}/executions/p-1/cancel")
    finished = await spoken.operator.post(f"{V1}/events/p-1/other", json=1)
    assert (finished.status_code, finished.json()["code"]) == (409, "execution_finished")


async def test_what_is_unknown_is_not_found(idle):
    for method, path in (
        ("GET", "executions/nobody"),
        ("GET", "executions/nobody/wait?timeout=0"),
        ("GET", "executions/nobody/stream"),
        ("POST", "executions/nobody/cancel"),
        ("POST", "events/nobody/x"),
    ):
        answer = await idle.operator.request(method, f"{V1}/{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    await started(idle)
    assert (await idle.reader.get(f"{V1}/executions/p-1?run=2")).status_code == 404


async def test_cancelling_says_what_is_true_and_who_did_it(idle):
    await started(idle)
    first = (await idle.operator.post(f"{V1}/executions/p-1/cancel")).json()
    second = (await idle.operator.post(f"{V1}/executions/p-1/cancel")).json()
    assert first == {"execution_id": "p-1", "status": "cancelled", "cancelled": True}
    assert second == {"execution_id": "p-1", "status": "cancelled", "cancelled": False}


async def test_a_wait_ends_with_the_callers_patience(idle):
    await started(idle)
    answer = await idle.reader.get(f"{V1}/executions/p-1/wait?timeout=0.01")
    assert (answer.status_code, answer.json()["status"]) == (202, "pending")
    assert (await idle.reader.get(f"{V1}/executions/p-1/wait?timeout=3601")).status_code == 422


async def test_pages_follow_one_another_by_key(spoken):
    for number in range(5):
        await started(spoken, f"p-{number}")
    found, after = [], {}
    while after is not None:
        page = (await spoken.reader.get(f"{V1}/executions", params={"limit": 2, "order": "asc", **after})).json()
        found += [each["execution_id"] for each in page["executions"]]
        after = {"after": page["next"]} if page["next"] else None
    assert found == [f"p-{number}" for number in range(5)]
    newest = (await spoken.reader.get(f"{V1}/executions?limit=1")).json()
    assert [each["execution_id"] for each in newest["executions"]] == ["p-4"]
    await spoken.operator.post(f"{V1}/executions/p-2/cancel")
    cancelled = (await spoken.reader.get(f"{V1}/executions?status=cancelled&task=pipeline")).json()
    assert [each["execution_id"] for each in cancelled["executions"]] == ["p-2"]


@pytest.mark.parametrize(
    "query", ["limit=501", "limit=0", "limit=x", "status=done", "order=up", "ofset=1", "limit=1&limit=2", "after=", "task=%FF"]
)
async def test_a_wrong_query_is_refused(idle, query):
    answer = await idle.reader.get(f"{V1}/executions?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


async def test_tasks_come_with_their_schemas(idle):
    tasks = {each["name"]: each for each in (await idle.reader.get(f"{V1}/tasks")).json()["tasks"]}
    assert set(tasks) == {"pipeline", "fails", "strange", "endless"}
    assert "dataset" in json.dumps(tasks["pipeline"]["input"])
    assert tasks["fails"]["input"] == {"type": "null"}


async def test_what_json_cannot_say_is_shown_as_text_and_kept_whole_beside_it(spoken):
    await started(spoken, "s-1", "strange")
    shown = (await spoken.reader.get(f"{V1}/executions/s-1/wait?timeout=20&stored=true")).json()
    assert shown["output"] == "NaN"
    assert json.loads(shown["stored_result"]) == {"$zart:float": "nan"}


async def test_surrogates_and_long_integers_come_back_as_they_went(idle):
    text = '{"task":"x","idempotency_key":"odd","data":["\\ud800",123456789012345678901234567890]}'
    idle.api.operations._registry = None  # any task is taken
    sent = await idle.operator.post(f"{V1}/executions", content=text, headers={"content-type": "application/json"})
    assert sent.status_code == 201
    shown = json.loads((await idle.reader.get(f"{V1}/executions/odd")).content)
    assert shown["data"] == ["\ud800", 123456789012345678901234567890]
