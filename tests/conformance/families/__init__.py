"""The scenarios, one module for each family: first those of the public suite, then those that it lacks."""

from tests.conformance.families import (
    callback,
    cancels,
    child,
    clocks,
    deaths,
    deploys,
    invoke,
    limits,
    mail,
    mapping,
    outages,
    owners,
    parallel,
    payloads,
    plugin,
    polling,
    replies,
    retention,
    step,
    submitting,
    wait,
)

PUBLIC = (step, wait, child, callback, invoke, polling, submitting, parallel, mapping, plugin)
"""Those of the public suite, in its order."""
OWN = (owners, deaths, replies, mail, cancels, clocks, payloads, deploys, limits, outages, retention)
"""Those that it lacks."""
