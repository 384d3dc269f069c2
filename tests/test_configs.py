"""Each shipped config trains for a few batches in this process, and writes and prints what it should."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

from benchmarks.bitwise_diff import differences, unequal
from common.files import read_tensors
from networks.generator_files import load_generator, read_metadata
from networks.sampling import sample
from twofold.tables import read_rows

Twofold = Callable[..., tuple[int, str, str]]
FOLDER = Path(__file__).parents[1] / "configs"
CONFIGS = [
    pytest.param(path, id=path.stem)
    for path in sorted(FOLDER.glob("*.yaml"))
    if path.stem not in ("base", "gan_folder")
]
STEPS = 5
SHORT = f"--trainer.max_steps {STEPS} --trainer.log_every_n_steps 2 --checkpoint.every_n_train_steps 2"
all_configs = pytest.mark.parametrize("config", CONFIGS)


def train(twofold: Twofold, config: Path, *options: object) -> tuple[Path, str]:
    """The folder of a short run on few samples, and what was printed."""
    text = config.read_text()
    short = Path(config.name)
    short.write_text(text.replace("final_samples: 10000", "final_samples: 50").replace("samples: 26000", "samples: 50"))
    packaged = ("--data.source", "packaged") if "MNIST" in text else ()
    penalty = ("--model.d_reg_interval", 4) if "d_reg_interval" in text else ()
    code, out, err = twofold("fit -c", short, *SHORT.split(), *packaged, *penalty, *options)
    # Torch's compiler logs where it finds a CUDA toolkit and no GPU.
    assert (code, re.sub(r"^W\d{4} .*CUDA_HOME.*\n", "", err, flags=re.MULTILINE)) == (0, "")
    folder = Path(out.splitlines()[-1].removeprefix("results in "))
    assert folder.parent == Path("runs", config.stem)
    assert {path.name for path in Path().iterdir()} == {"runs", config.name}
    return folder, out


def weights_of(text: str) -> list[str]:
    """The generators that a config evaluates: trained and averaged; none without a GAN."""
    if "lightning_modules.GAN" not in text:
        return []
    return ["raw", "ema"] if "ema_decay" in text else ["raw"]


@all_configs
def test_run_of_a_shipped_config(config: Path, twofold: Twofold) -> None:
    folder, out = train(twofold, config)
    text = config.read_text()
    weights = weights_of(text)
    source = "packaged" if "MNIST" in text else None

    reports = re.findall(f"(\\w+) generator, after {STEPS} batches of the packaged digits: (?:FID|.* KL) ", out)
    assert reports == weights
    assert out.count("don't compare with numbers on MNIST") == ("GenerativeMetrics" in text)

    resolved = yaml.safe_load((folder / "config.yaml").read_text())
    assert (resolved["trainer"]["max_steps"], resolved["threads"]) == (STEPS, 1)
    facts = json.loads((folder / "run.json").read_text())
    assert (facts["id"], facts["state"], facts["step"]) == (folder.name, "finished", STEPS)
    assert facts.get("data_source") == source

    *metrics, last = read_rows(folder / "metrics.csv")
    metrics, final = (metrics, last) if weights else ([*metrics, last], {})
    assert [row["step"] for row in metrics] == ["1", "3"]
    assert all(0 < abs(float(row["train/d_loss" if weights else "train/loss"])) < 20 for row in metrics)
    assert {name.split("/")[1] for name, value in final.items() if value and "/" in name} == set(weights)
    times = read_rows(folder / "timing.csv")
    assert [row["step"] for row in times] == ["1", "3"]
    assert all(float(row["time/ms_per_batch"]) > 0 for row in times)

    checkpoints = {path.name for path in (folder / "checkpoints").iterdir()}
    assert checkpoints == {"step=000004.ckpt", "step=000005.ckpt", "last.ckpt"}
    assert read_tensors(folder / "checkpoints" / "last.ckpt")["global_step"] == STEPS

    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*.p[nt]*")}
    assert files == ({"images/step_000000.png", "interpolation.png", "mnist_generator.pth"} if weights else set())
    if weights:
        with (
            Image.open(folder / "images" / "step_000000.png") as grid,
            Image.open(folder / "interpolation.png") as strip,
        ):
            assert grid.width < strip.width
        of_file = read_metadata(folder / "mnist_generator.pth")
        assert (of_file["weights"], of_file["step"], of_file["data_source"]) == (weights[-1], STEPS, source)
        network = load_generator(folder / "mnist_generator.pth")
        channels = 3 if "Stacked" in text else 1
        images = sample(network, torch.zeros(2, int(network.latent_dim)))  # type: ignore[arg-type]
        assert images.shape == (2, channels, 28, 28)


@pytest.mark.slow
@all_configs
def test_evaluation_adds_files_and_changes_none(config: Path, twofold: Twofold) -> None:
    folder, _ = train(twofold, config)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for command in ("validate", "test", "predict"):
        code, _, err = twofold(f"{command} -c {folder}/config.yaml --ckpt_path last")
        assert (code, err) == (0, "")
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert {path: content for path, content in after.items() if path in before} == before
    new = {path.relative_to(folder).as_posix() for path in after.keys() - before.keys()}
    samples = {f"samples/{i:06d}.png" for i in range(64)}
    assert new == {"validate.csv", "test.csv"} | (samples if weights_of(config.read_text()) else {"predictions.csv"})
    for split, name in (("val", "validate.csv"), ("test", "test.csv")):
        [row] = read_rows(folder / name)
        assert (row.pop("checkpoint"), row.pop("step")) == ("step=000005.ckpt", "5")
        assert row.pop("data_source", None) == "packaged" or int(row.pop("length")) >= 2
        assert row
        assert all(key.startswith(f"{split}/") and math.isfinite(float(value)) for key, value in row.items())


@pytest.mark.slow
@all_configs
def test_bfloat16_run_is_validated_in_float32(config: Path, twofold: Twofold) -> None:
    folder, _ = train(twofold, config, "--trainer.precision", "bf16-mixed")
    weights = read_tensors(folder / "checkpoints" / "last.ckpt")["state_dict"]
    assert {weight.dtype for weight in weights.values() if weight.is_floating_point()} == {torch.float32}
    options = "--ckpt_path last --trainer.limit_val_batches 2 --trainer.precision 32-true"
    assert twofold(f"validate -c {folder}/config.yaml {options}")[0] == 0
    assert (folder / "validate.csv").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gan_template", "gan", "digit_classifier"])
def test_compiled_run_ends_near_the_plain_one(twofold: Twofold, name: str) -> None:
    plain, compiled = (
        trained(train(twofold, FOLDER / f"{name}.yaml", "--compile", value, "--trainer.max_steps", 3)[0])["state_dict"]
        for value in ("false", "true")
    )
    assert plain.keys() == compiled.keys()
    # Adam's steps have the size of the rate. Where a gradient is nearly 0, rounding decides their sign.
    weights = [key for key in plain if key.endswith(("weight", "bias"))]
    assert all((plain[key] - compiled[key]).abs().max() < 0.01 for key in weights)


def test_bits_depend_on_the_seed_and_not_on_logging(twofold: Twofold) -> None:
    small = (FOLDER / "gan.yaml", "--data.batch_size", 8)
    first, second = (train(twofold, *small)[0] for _ in range(2))
    assert first != second
    assert differences(first, second) == []
    unlogged, _ = train(twofold, *small, "--trainer.logger", "false", "--trainer.callbacks", "null")
    assert list(unequal(trained(first), trained(unlogged))) == []
    other, _ = train(twofold, *small, "--seed_everything", 2)
    assert len(list(unequal(trained(first), trained(other)))) > 10


def trained(folder: Path) -> dict[str, Any]:
    """What a run's last checkpoint holds of the networks and their optimizers."""
    checkpoint = read_tensors(folder / "checkpoints" / "last.ckpt")
    return {name: checkpoint[name] for name in ("state_dict", "optimizer_states", "lr_schedulers")}


def test_recipe_for_folders_is_that_of_gan() -> None:
    folder, gan = (yaml.safe_load((FOLDER / f"{name}.yaml").read_text()) for name in ("gan_folder", "gan"))
    assert (folder.pop("experiment"), gan.pop("experiment")) == ("gan_folder", "gan")
    assert (folder["data"].pop("class_path"), gan["data"].pop("class_path")) == (
        "datamodules.ImageFolderDataModule",
        "datamodules.MNISTDataModule",
    )
    assert folder == gan
