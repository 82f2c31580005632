"""Every scenario comes to its history and its end, on every backend, undisturbed and disturbed."""

import pytest

from tests.conformance.backends import Ground
from tests.conformance.families import OWN, PUBLIC
from tests.conformance.language import SCENARIOS
from tests.conformance.line import Broken
from tests.conformance.player import Play, weathers

assert PUBLIC + OWN  # importing them declares the scenarios

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("name", list(SCENARIOS))
async def test_scenario(ground: Ground, name: str) -> None:
    scenario = SCENARIOS[name]
    if ground.backend in scenario.not_on:
        pytest.skip(scenario.not_on[ground.backend])
    for weather in weathers(scenario):
        try:
            await Play(scenario, ground, weather).run()
        except Broken as broken:
            pytest.fail(f"{name}, {scenario.title}; {weather.value}: {broken}", pytrace=False)
