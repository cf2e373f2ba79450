"""What a contract is tested on: every backend that there is."""

import pytest


@pytest.fixture
def store(any_store):
    return any_store
