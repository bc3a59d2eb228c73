"""The public names: every module lists its own, and the list of the top is pinned."""

import importlib
import inspect
import pkgutil

import pytest

import plangym_lite

TOP = [
    "AlreadySteppingError",
    "BatchEnv",
    "ClosedError",
    "CloudpickleWrapper",
    "ExternalProcess",
    "InvalidBatchError",
    "InvalidStateError",
    "InvalidStepError",
    "NotCloneableError",
    "NotSteppingError",
    "ParallelEnv",
    "PlanEnv",
    "PlangymEnv",
    "PlangymError",
    "ProtocolError",
    "RemoteError",
    "RolloutBatch",
    "SequentialVectorEnv",
    "SimulatorEnv",
    "StateArchive",
    "Step",
    "StepBatch",
    "SubprocVecEnv",
    "SubprocVectorEnv",
    "Transition",
    "TransitionBatch",
    "UnknownEnvironmentError",
    "VecEnvWrapper",
    "WorkerDiedError",
    "WorkerError",
    "load_states",
    "make",
    "register_adapter",
    "save_states",
]
"""Everything that ``import plangym_lite`` promises. A new name is added here by hand."""

NO_NAMES = {"plangym_lite.__main__"}
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(plangym_lite.__path__, "plangym_lite.")
    if module.name not in NO_NAMES
)


def test_the_top():
    assert sorted(plangym_lite.__all__) == sorted(TOP)


def test_the_version():
    assert plangym_lite.__version__.count(".") == 2


def load(name):
    """The module, if the engine that it is about is installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name.startswith("plangym_lite"):
            raise
        pytest.skip(f"{error.name} is not installed")


@pytest.mark.parametrize("name", MODULES)
def test_every_module_lists_names_that_exist(name):
    module = load(name)
    if hasattr(module, "__path__") and not hasattr(module, "__all__"):
        pytest.skip("a package that exports no names")
    names = module.__all__
    assert len(names) == len(set(names))
    for public in names:
        assert hasattr(module, public), f"{name}.{public}"


@pytest.mark.parametrize("name", ["plangym_lite", *MODULES])
def test_public_classes_and_functions_are_documented(name):
    module = load(name)
    for public in getattr(module, "__all__", ()):
        value = getattr(module, public)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__doc__, f"{name}.{public} has no docstring"


@pytest.mark.parametrize("name", MODULES)
def test_what_a_module_defines_is_listed_or_private(name):
    module = load(name)
    for public, value in vars(module).items():
        own = (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__ == name
        if own and not public.startswith("_") and hasattr(module, "__all__"):
            assert public in module.__all__ or _helper(module, public), f"{name}.{public}"


def _helper(module, public):
    """A function without underscore that the module itself uses, below its public ones."""
    return public in inspect.getsource(module).replace(f"def {public}", "").replace(
        f"class {public}", ""
    )
