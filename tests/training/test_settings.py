"""Settings: the paper's defaults, and errors that name what is wrong."""

from __future__ import annotations

import math
import tomllib
from dataclasses import FrozenInstanceError
from types import SimpleNamespace

import pytest

from probseg.errors import OptionError
from probseg.training import TrainingSettings, fit


def test_defaults_are_table_4():
    settings = TrainingSettings()
    assert (settings.learning_rate, settings.weight_decay) == (1e-4, 5e-5)
    assert (settings.batch_size, settings.patience, settings.clip) == (32, 40, 1.0)
    with pytest.raises(FrozenInstanceError):
        settings.seed = 1


def test_a_table_of_toml_becomes_settings():
    table = tomllib.loads("batch_size = 8\nlearning_rate = 1e-3\nchannels_last = true\nclip = 100")
    settings = TrainingSettings(**table)
    assert settings == TrainingSettings(
        batch_size=8, learning_rate=1e-3, channels_last=True, clip=100
    )


def test_an_option_of_the_model_is_sent_to_build():
    spec = SimpleNamespace(spec={"name": "punet", "beta": 10.0})
    with pytest.raises(OptionError, match=r"fit has no option 'beta', .*build\('punet', beta=…\)"):
        fit(spec, [], [], beta=1)
    with pytest.raises(OptionError, match=r"fit has no option 'bat'; .*it takes"):
        fit(spec, [], [], bat=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "batch_size must be an integer of at least 1, not 0"),
        ({"batch_size": 2.0}, "batch_size must be an integer"),
        ({"max_steps": True}, "max_steps must be an integer"),
        ({"patience": -1}, "patience must be"),
        ({"validate_every": 0}, "validate_every must be"),
        ({"seed": -1}, "seed must be an integer of at least 0"),
        ({"learning_rate": 0}, "learning_rate must be a positive finite number, not 0"),
        ({"learning_rate": "1e-3"}, "learning_rate must be a positive"),
        ({"clip": math.inf}, "clip must be a positive finite"),
        ({"weight_decay": -1e-5}, "weight_decay must be a non-negative"),
        ({"weight_decay": math.nan}, "weight_decay must be a non-negative"),
        ({"annotator": "stapel"}, "not 'stapel'; did you mean 'staple'"),
        ({"annotator": -1}, "an annotator's number from 0, not -1"),
        ({"annotator": True}, "an annotator's number from 0, not True"),
        (
            {"augment": "yes"},
            "augment must be one of True, False, 'flips', 'ignore-outside', not 'yes'",
        ),
        ({"augment": 1}, "augment must be one of True, False, 'flips', 'ignore-outside', not 1"),
        ({"precision": "fp23"}, "did you mean 'fp32'"),
        ({"channels_last": "autp"}, "did you mean 'auto'"),
        ({"device": "cude"}, "not 'cude'; did you mean 'cuda'"),
        ({"device": 0}, "device must be"),
    ],
)
def test_a_value_that_cannot_train_is_named(change, message):
    with pytest.raises(OptionError, match=message):
        TrainingSettings(**change)
