"""The runtime and value suites, as they are, over three shards."""

# ruff: noqa: F403 (each of these modules is a suite)

from tests.runtime.test_functions import *
from tests.runtime.test_interleavings import *
from tests.runtime.test_main_path import *
from tests.runtime.test_refusals import *
from tests.runtime.test_reports import *
from tests.runtime.test_value_matrix import *
from tests.runtime.test_values import *
