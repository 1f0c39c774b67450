"""What goes to a cluster: whose code goes along, and whose does not."""

import pickle
import sys
from types import ModuleType

import pytest

from headrace.engine.clusters import parcels
from headrace.engine.clusters.there import answer_to

BESIDE = "/flows/etl.py"


@pytest.fixture
def loaded(monkeypatch):
    """`loaded(name, file)`: a module with a function, as if it had been imported from there."""

    def made(name, file):
        module = ModuleType(name)
        module.__file__ = file
        exec("def work():\n    return 1\n", vars(module))
        monkeypatch.setitem(sys.modules, name, module)
        return module

    return made


@pytest.mark.parametrize(
    ("name", "file", "goes_along"),
    [
        pytest.param("rules", "/flows/rules.py", True, id="a module beside it"),
        pytest.param("shop.rules", "/flows/shop/rules.py", True, id="a module of a package below"),
        pytest.param("rules", "/flowsheets/rules.py", False, id="another folder with a like name"),
        pytest.param(
            "numpy", "/flows/.local/lib/python3.11/site-packages/numpy/__init__.py", False, id="a library below"
        ),
        pytest.param("headrace.flows", "/flows/sdk/headrace/flows.py", False, id="headrace itself"),
        pytest.param("math", None, False, id="a module without a file"),
    ],
)
def test_the_flows_own_modules_go_along(loaded, name, file, goes_along):
    """Those of libraries are on the workers."""
    main = loaded("etl", BESIDE)
    other = loaded(name, file)
    own = parcels._own_modules(main.work)
    assert main in own
    assert (other in own) is goes_along


def test_the_code_of_a_library_does_not_go_along(loaded):
    """Nor what is beside that."""
    library = loaded("tables", f"{next(iter(parcels._libraries()))}tables.py")
    assert parcels._own_modules(library.work) == []


def test_an_errand_of_another_version_is_not_unpacked():
    """The worker says which versions it has."""
    parcel = pickle.dumps(parcels.Parcel(parcels.Versions("0.0.9", "3.10"), b"no pickle"))
    assert pickle.loads(answer_to(parcel)) == parcels.Answer(other_versions=parcels.versions())
