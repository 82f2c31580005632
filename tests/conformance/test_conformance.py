"""Every scenario comes to its history and its end, on every backend that it applies to, undisturbed and disturbed."""

import pytest

from tests.conformance.backends import BACKENDS, Ground
from tests.conformance.families import OWN, PUBLIC
from tests.conformance.language import SCENARIOS
from tests.conformance.line import Broken
from tests.conformance.player import Play, weathers

assert PUBLIC + OWN  # importing them declares the scenarios

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVERYWHERE = [name for name, scenario in SCENARIOS.items() if not scenario.not_on]
SOMEWHERE = [
    (backend, name)
    for name, scenario in SCENARIOS.items()
    if scenario.not_on
    for backend in BACKENDS
    if backend not in scenario.not_on
]


async def play(ground: Ground, name: str) -> None:
    scenario = SCENARIOS[name]
    for weather in weathers(scenario):
        try:
            await Play(scenario, ground, weather).run()
        except Broken as broken:
            pytest.fail(f"{name}, {scenario.title}; {weather.value}: {broken}", pytrace=False)


@pytest.mark.parametrize("name", EVERYWHERE)
async def test_scenario(ground: Ground, name: str) -> None:
    await play(ground, name)


@pytest.mark.parametrize(("ground", "name"), SOMEWHERE, indirect=["ground"], scope="module")
async def test_scenario_where_it_applies(ground: Ground, name: str) -> None:
    await play(ground, name)
