"""Registries: mappings that import nothing until a name is asked for."""

import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import pytest

import probseg
from probseg.errors import MissingPluginError, OptionError, PluginError, UnknownNameError
from probseg.registry import KINDS as ALL_KINDS
from probseg.registry import Registry, known_plugins, registry, singular, training_options

KINDS = (
    *("backbones", "encoders", "projectors", "divergences"),
    *("set_losses", "decoders", "models", "datasets", "metrics"),
)


def run_python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a distribution with entry points on the path, as pip would; forget its modules after."""
    before = set(sys.modules)

    def put(name: str, entries: str, *, version: str = "1.2", module: str = "") -> Path:
        site = tmp_path / name
        info = site / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "entry_points.txt").write_text(entries)
        (info / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
        (site / f"{name}_module.py").write_text(module)
        monkeypatch.syspath_prepend(str(site))
        return site

    yield put
    for module in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[module], "__file__", "")):
            del sys.modules[module]


@pytest.mark.parametrize("kind", KINDS)
def test_a_registry_is_a_sorted_mapping_and_a_module(kind):
    parts = getattr(probseg, kind)
    assert isinstance(parts, Mapping) and isinstance(parts, Registry)
    assert parts is registry(kind) is sys.modules[f"probseg.{kind}"]
    assert list(parts) == sorted(parts) and len(parts) == len(list(parts)) > 0
    assert all(name in parts for name in parts)
    assert "no such part" not in parts and None not in parts
    assert parts == parts and parts != {} and hash(parts) == hash(parts)


def test_registries_list_what_the_issue_names():
    assert set(probseg.models) >= {"punet", "2p-planar", "csae", "deterministic"}
    assert set(probseg.backbones) >= {"unet", "smp", "unetplusplus"}
    assert set(probseg.projectors) >= {"identity", "planar"}
    assert set(probseg.divergences) >= {"kl", "sinkhorn", "exact-ot"}
    assert "axis-aligned" in probseg.encoders and "fcomb" in probseg.decoders


def test_a_name_gives_its_constructor_and_get_gives_the_default():
    from probseg.divergences.kl import KL

    assert probseg.divergences["kl"] is KL
    assert probseg.divergences.get("absent") is None
    assert dict(probseg.divergences.items())["kl"] is KL


def test_a_module_that_is_no_registry_is_refused():
    with pytest.raises(TypeError, match="is no registry"):
        registry("errors")


def test_listing_imports_nothing():
    code = "import sys, probseg\n" + "\n".join(f"list(probseg.{kind})" for kind in KINDS)
    heavy = "{'torch', 'numpy', 'scipy', 'nflows', 'geomloss', 'ot', 'lightning'}"
    assert run_python(f"{code}\nprint(sorted({heavy} & set(sys.modules)))").strip() == "[]"


def test_building_the_csae_imports_what_it_is_made_of_and_nothing_else():
    code = "import sys, probseg; probseg.build('csae'); print(*sys.modules)"
    packages = {name.partition(".")[0] for name in run_python(code).split()}
    assert packages >= {"torch", "geomloss", "nflows"}
    optional = {"segmentation_models_pytorch", "timm", "torchvision", "lightning", "torchmetrics"}
    unneeded = {"ot", "scipy", "pandas", "matplotlib", "kornia", "sympy", "rich", "PIL"}
    assert not packages & (optional | unneeded)


def test_import_is_quick():
    # The processor's time, and the least of several: other processes only make it slower.
    code = "import time; t = time.process_time(); import probseg; print(time.process_time() - t)"
    assert min(float(run_python(code)) for _ in range(3)) < 0.2


def test_register_and_unregister():
    @probseg.projectors.register("mine")
    class Mine:
        """A projector."""

    try:
        assert probseg.projectors["mine"] is Mine
        assert "mine" in probseg.projectors and "mine" in list(probseg.projectors)
        with pytest.raises(OptionError, match="a projector called 'mine' exists already"):
            probseg.projectors.register("mine")(Mine)
    finally:
        probseg.projectors.unregister("mine")
    assert "mine" not in probseg.projectors
    with pytest.raises(UnknownNameError, match="no projector was registered here as 'mine'"):
        probseg.projectors.unregister("mine")


def test_a_shipped_name_cannot_be_taken():
    with pytest.raises(OptionError, match="'planar' exists already"):
        probseg.projectors.register("planar")(dict)


def test_register_without_brackets_is_refused():
    with pytest.raises(OptionError, match=r"@probseg\.projectors\.register\('name'\)"):

        @probseg.projectors.register
        class Mine:
            """A projector."""


def test_an_unknown_name_suggests_the_nearest():
    wanted = r"no projector is called 'plannar'; did you mean 'planar'\? Known: .*identity.*planar"
    with pytest.raises(UnknownNameError, match=wanted) as caught:
        probseg.projectors["plannar"]
    assert isinstance(caught.value, KeyError) and not str(caught.value).startswith('"')
    with pytest.raises(UnknownNameError, match="no projector is called 3"):
        probseg.projectors[3]
    assert str(UnknownNameError()) == ""


def test_an_installed_plugin_is_found_and_imported_on_demand(install):
    before = list(probseg.projectors)
    install(
        "acme", "[probseg.projectors]\nradial = acme_module:Radial\n", module="class Radial: pass"
    )
    assert list(probseg.projectors) == sorted([*before, "radial"])
    assert "acme_module" not in sys.modules
    assert probseg.projectors["radial"].__module__ == "acme_module"
    assert "radial" not in probseg.backbones


def test_a_collision_names_both_and_only_when_asked_for(install):
    install("acme", "[probseg.projectors]\nplanar = acme_module:P\n")
    install("bolt", "[probseg.projectors]\nradial = bolt_module:R\n")
    install("crux", "[probseg.projectors]\nradial = crux_module:R\n", version="0.3")
    assert "planar" in probseg.projectors and "radial" in probseg.projectors
    assert probseg.projectors["identity"]
    wanted = r"projector 'planar' is offered by probseg and acme 1\.2 \(acme_module:P\); uninstall"
    with pytest.raises(PluginError, match=wanted):
        probseg.projectors["planar"]
    with pytest.raises(PluginError, match=r"crux 0\.3 \(crux_module:R\).* and .*bolt 1\.2"):
        probseg.projectors["radial"]


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("import no_such_module", "cannot be imported: No module named 'no_such_module'"),
        ("raise OSError('licence expired')", "cannot be imported: licence expired"),
        ("raise RuntimeError", "cannot be imported: RuntimeError"),
        ("other = 1", "cannot be imported: .*radial"),
        ("radial = 3", "is int, which cannot be called; an entry point names a class or"),
    ],
)
def test_a_broken_plugin_breaks_only_itself(install, monkeypatch, module, reason):
    install("ruin", "[probseg.projectors]\nradial = ruin_module:radial\n", module=module)
    monkeypatch.delitem(sys.modules, "ruin_module", raising=False)
    assert "radial" in list(probseg.projectors)
    assert callable(probseg.projectors["planar"])
    with pytest.raises(PluginError, match=r"projector 'radial' of ruin 1\.2 .*" + reason):
        probseg.projectors["radial"]


def test_a_plugin_that_is_found_twice_is_one(install, monkeypatch):
    site = install("acme", "[probseg.projectors]\nradial = acme_twice:dict\n")
    (site / "acme_twice.py").write_text("dict = dict")
    monkeypatch.syspath_prepend(str(site))
    assert probseg.projectors["radial"] is dict


def test_create_checks_options_by_name():
    wanted = "backbone 'unet' has no option 'chanels'; did you mean 'channels'"
    with pytest.raises(OptionError, match=wanted):
        probseg.backbones.create("unet", in_channels=1, chanels=[4])
    with pytest.raises(OptionError, match="backbone 'unet' needs in_channels"):
        probseg.backbones.create("unet")
    assert probseg.divergences.create("kl", samples=7).samples == 7


PLUGINS = Path(__file__).resolve().parents[2] / "plugins"


def test_the_known_plugins_are_those_of_the_repository():
    found: dict[str, dict[str, str]] = {}
    for file in PLUGINS.glob("*/pyproject.toml"):
        project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        for group, entries in project["entry-points"].items():
            kind = singular(group.removeprefix("probseg."))
            found.setdefault(kind, {}).update(dict.fromkeys(entries, project["name"]))
    assert found == known_plugins.PLUGINS and len(found) == 3


@pytest.mark.parametrize(
    ("kind", "name", "package"),
    [
        (kind, *one)
        for kind in sorted(known_plugins.PLUGINS)
        for one in known_plugins.PLUGINS[kind].items()
    ],
)
def test_a_part_of_a_known_plugin_says_what_to_install(monkeypatch, kind, name, package):
    parts = registry(ALL_KINDS[kind])
    monkeypatch.setattr(
        sys.modules["probseg.registry"], "_plugins", lambda *_: ()
    )  # installed or not
    wanted = (
        f"the {kind} '{name}' is of the plugin {package}, .*run: pip install ./plugins/{package}"
    )
    with pytest.raises(MissingPluginError, match=wanted):
        parts[name]
    assert name not in parts and parts.get(name) is None


def test_a_known_plugin_that_is_installed_is_found(install):
    install("acme", "[probseg.projectors]\nradial = acme_module:R\n", module="class R: pass")
    assert probseg.projectors["radial"].__name__ == "R"


def test_the_settings_of_training_are_those_of_fit():
    from probseg.training import TrainingSettings

    assert [*training_options.TRAINING] == [field.name for field in fields(TrainingSettings)]


@pytest.mark.parametrize("option", ["geco", "max_steps"])
def test_a_setting_of_training_that_a_model_is_given_is_sent_to_training(option):
    wanted = rf"model 'punet' has no option '{option}', .*probseg\.fit\(.*, {option}=…\)"
    with pytest.raises(OptionError, match=wanted):
        probseg.build("punet", **{option: 1})
    with pytest.raises(OptionError, match="takes: "):  # as before
        probseg.divergences.create("kl", geco=1)


def test_a_model_may_have_an_option_that_training_has_too():
    @probseg.models.register("seeded")
    def seeded(*, seed: int = 0):
        return seed

    @probseg.models.register("open")
    def anything(**options):
        return options

    try:
        assert probseg.build("seeded", seed=3) == 3
        assert probseg.build("open", device="cpu") == {"device": "cpu"}
    finally:
        probseg.models.unregister("seeded")
        probseg.models.unregister("open")


@pytest.mark.parametrize("kind", sorted(ALL_KINDS))
def test_messages_write_a_kind_as_people_do(kind):
    parts = registry(ALL_KINDS[kind])
    words = {"encoder": "an encoder", "set_loss": "a set loss"}.get(kind, f"a {kind}")
    with pytest.raises(OptionError, match=rf"^register {words} by name: @"):
        parts.register(print)
    name = next(iter(parts))
    with pytest.raises(OptionError, match=f"^{words} called {name!r} exists already"):
        parts.register(name)(print)
    with pytest.raises(UnknownNameError, match=f"^no {words.partition(' ')[2]} is called '…'"):
        parts["…"]


def test_a_part_that_is_none_is_refused_with_its_article():
    with pytest.raises(OptionError, match=r"^an encoder is a name, a mapping or a ready object"):
        probseg.build("energy", encoder=None)
    with pytest.raises(OptionError, match=r"^an encoder given as a mapping needs a"):
        probseg.build("energy", encoder={"norm": None})
