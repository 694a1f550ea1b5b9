"""A data folder with the store of all shipped rows, made once and written by nobody."""

import pytest

from knowledge.store.connection import open_store


@pytest.fixture(scope="session")
def shipped_home(tmp_path_factory):
    home = tmp_path_factory.mktemp("shipped-home")
    open_store(home).close()
    return home
