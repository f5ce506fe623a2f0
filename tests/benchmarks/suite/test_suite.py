"""The suite file: what it says, and how it refuses what makes no sense."""

import csv
from dataclasses import fields
from pathlib import Path

import pytest

import probseg
from benchmarks.suite.definition import Profile, read_suite
from benchmarks.suite.settings import (
    DATA,
    EVALUATION,
    SETTINGS,
    TRAINING,
    DataSettings,
    EvaluationSettings,
)
from probseg.errors import OptionError
from probseg.training.settings import TrainingSettings


@pytest.fixture
def faulty(suite_file: Path, tmp_path: Path):
    def make(old: str, new: str) -> Path:
        text = suite_file.read_text()
        assert old in text
        path = tmp_path / "faulty.toml"
        path.write_text(text.replace(old, new, 1))
        return path

    return make


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("batch_size = 4", "batch_sise = 4", "did you mean 'batch_size'"),
        ("patience = 100", "patience = -1", "patience must be an integer of at least 1, not -1"),
        ("folds = [0]", "folds = [7]", "profiles.quick.folds.0 must be one of 0, 1, 2, not 7"),
        (
            "batch_size = 4",
            'batch_size = "four"',
            "batch_size must be an integer of at least 1",
        ),
        ('"latent_dim", "beta"]', '"latent_dims"]', "did you mean 'latent_dim'"),
        ('models = ["punet", "csae"]', 'models = ["punett"]', "did you mean 'punet'"),
        ("[profiles.quick.settings]", "[profiles.quick.setting]", "did you mean 'settings'"),
        ("[all]", "[all", "is not valid TOML"),
    ],
)
def test_faults_are_named_with_the_nearest_valid_key(faulty, old, new, told) -> None:
    with pytest.raises(OptionError, match=r"faulty|setting|model") as caught:
        read_suite(faulty(old, new))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_suite_is_named(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="cannot read the suite"):
        read_suite(tmp_path / "none.toml")


def test_the_more_particular_setting_wins() -> None:
    profile = Profile(
        name="mine",
        description="",
        folds=(0,),
        settings={"beta": 1, "gamma": 1, "n_ot": 1, "crop": 1},
        models={"csae": {"gamma": 2, "n_ot": 2, "crop": 2}},
        datasets={"lidc": {"n_ot": 3, "crop": 3}},
        overrides={"crop": 4},
    )
    assert profile.resolve("csae", "lidc") == {"beta": 1, "gamma": 2, "n_ot": 3, "crop": 4}
    assert profile.resolve("punet", "contours") == {"beta": 1, "gamma": 1, "n_ot": 1, "crop": 4}


TABLE_4 = list(
    csv.DictReader((Path(__file__).parent / "table4.csv").read_text(encoding="utf-8").splitlines())
)


@pytest.mark.parametrize("row", TABLE_4, ids=lambda row: row["dataset"])
@pytest.mark.parametrize("model", ["punet", "2p-planar", "csae"])
def test_the_paper_profile_is_table_4(row: dict[str, str], model: str) -> None:
    settings = read_suite().profiles["paper"].resolve(model, row["dataset"])
    wanted = {key: float(value) for key, value in row.items() if key != "dataset"}
    assert {key: settings[key] for key in wanted} == wanted
    assert (settings["augment"], settings["clip"]) == (True, 1)  # Table 5, appendix B


def test_all_is_tables_1_and_2_and_the_embedded_data() -> None:
    suite = read_suite()
    assert set(suite.all.datasets) == {"contours", *(row["dataset"] for row in TABLE_4)}
    assert suite.all.models == ("punet", "2p-planar", "csae")
    assert suite.profiles["paper"].folds == [0, 1, 2]


def test_a_suite_can_say_every_training_setting_and_no_other() -> None:
    of_training = {field.name for field in fields(TrainingSettings)}
    on_the_command_line = {"seed", "device", "devices"}
    assert set(TRAINING) == of_training - on_the_command_line


def test_the_benchmarks_own_settings_are_checked_and_have_their_defaults() -> None:
    assert {field.name for field in fields(DataSettings)} == set(DATA)
    assert set(EVALUATION) < {field.name for field in fields(EvaluationSettings)}
    for settings in (DataSettings(), EvaluationSettings(), TrainingSettings()):
        for name in {field.name for field in fields(settings)} & SETTINGS.keys():
            value = getattr(settings, name)
            if value is not None:
                SETTINGS[name](name, value)


def test_every_row_of_the_suite_can_be_built() -> None:
    suite = read_suite()
    for profile in suite.profiles.values():
        for entry in suite.models.values():
            options = entry.model(profile.resolve(entry.name, "contours"))
            if options is not None:
                model = probseg.build(**options)
                assert model.spec["name"] == entry.build


def test_settings_of_parts_reach_the_parts() -> None:
    suite = read_suite()
    options = suite.models["csae"].model({"divergence": "sinkhorn", "n_ot": 5, "beta": 1})
    assert options == {
        "name": "csae",
        "divergence": {"name": "sinkhorn", "samples": 5},
        "beta": 1,
    }


def test_the_readings_of_the_flows_context_differ() -> None:
    suite = read_suite()
    settings = suite.profiles["quick"].resolve("csae", "contours")
    names = ["csae", "csae-two-flows", "csae-own", "csae-posterior"]
    specs = [probseg.build(**suite.models[name].model(settings)).spec for name in names]
    readings = [(spec["flow_context"], spec["shared_flow"]) for spec in specs]
    assert len(set(readings)) == 4
