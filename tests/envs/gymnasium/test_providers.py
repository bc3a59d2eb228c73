"""Packages that add ids: what is installed but broken costs its ids, and nothing else."""

import sys

import gymnasium
import pytest

from plangym_lite.envs.gymnasium import providers


@pytest.fixture
def half_installed(tmp_path, monkeypatch):
    """Two providers; the import of the first fails as shimmy's does without imageio."""
    (tmp_path / "half_installed.py").write_text("import no_such_module_anywhere\n")
    (tmp_path / "all_there.py").write_text(
        "import gymnasium\ngymnasium.register('FromAllThere-v0', entry_point='all_there:Env')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(providers, "PROVIDERS", ("half_installed", "all_there"))
    yield
    sys.modules.pop("all_there", None)
    gymnasium.registry.pop("FromAllThere-v0", None)


def test_a_provider_that_cannot_be_imported_is_named_and_left_out(half_installed):
    with pytest.warns(RuntimeWarning, match=r"half_installed is .*no_such_module_anywhere"):
        spec = providers.spec_of("FromAllThere-v0")
    assert spec.entry_point == "all_there:Env"


def test_a_provider_that_is_not_installed_says_nothing(monkeypatch):
    monkeypatch.setattr(providers, "PROVIDERS", ("no_such_package_anywhere",))
    assert providers.spec_of("NoSuchId-v0") is None
