"""Images of chosen classes: grids, scripts, the explorer, and whole runs of the class-conditional GAN."""

import itertools
import json
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from conditional_networks import Shades, generator
from jsonargparse import Namespace
from lightning.pytorch import Trainer
from pictures import write_pictures
from PIL import Image

from callbacks import ImageGrid
from callbacks.drawing import class_rows
from common.seeding import latent_noise, rng
from lightning_modules import GAN
from networks.generator_files import load_generator, save_generator
from networks.mlp_conv_gan import PixelUnshuffleDiscriminator
from networks.mlp_gan import MLPGenerator
from networks.sampling import sample
from scripts.explorer.gan import GANExplorer
from scripts.explorer.model_index import ModelIndex
from scripts.export import main as export
from scripts.interpolate import between_digits, between_seeds
from scripts.interpolate import main as interpolate
from scripts.sample import main as sample_script
from twofold.config_checks import apply_links
from twofold.errors import UsageError

Command = Callable[..., tuple[int, str, str]]
Fit = Callable[..., Trainer]
Refuses = Callable[..., None]


@pytest.fixture
def conditional_file(tmp_path: Path) -> Path:
    path = tmp_path / "mnist_generator.pth"
    save_generator(generator(), path, weights="ema", step=1500, data_source="packaged")
    return path


# Pictures and files


@pytest.mark.parametrize(
    ("n", "classes", "rows"),
    [
        (6, 3, ["0 3", "1 4", "2 5"]),
        (7, 3, ["0 3 6", "1 4 -", "2 5 -"]),
        (2, 3, ["0", "1"]),
        (24, 3, [" ".join(str(k) for k in range(first, 24, 3)) for first in range(3)]),
        (22, 2, ["0 2 4 6 8 10", "12 14 16 18 20 -", "1 3 5 7 9 11", "13 15 17 19 21 -"]),
    ],
)
def test_each_class_starts_a_row(n: int, classes: int, rows: list[str]) -> None:
    images, per_row = class_rows(torch.arange(n).view(-1, 1, 1, 1) + 1.0, classes)
    cells = ["-" if (value := float(image) - 1) < 0 else f"{value:.0f}" for image in images]
    assert [" ".join(cells[start : start + per_row]) for start in range(0, len(cells), per_row)] == rows


def test_grid_has_one_class_in_each_row(fit: Fit, tmp_path: Path) -> None:
    module = GAN(Shades(), PixelUnshuffleDiscriminator(2, 4, classes=10))
    fit(module, ImageGrid(100), max_steps=1)
    picture = np.asarray(Image.open(tmp_path / "images" / "step_000000.png"))[..., 0]
    for row, column in itertools.product(range(10), range(8)):
        assert picture[30 + 60 * row, 30 + 60 * column] == pytest.approx(25.5 * row, abs=0.51), (row, column)


@pytest.mark.parametrize(
    ("options", "labels", "columns"),
    [
        ("--n 20", [k % 10 for k in range(20)], 2),
        ("--n 9 --class 7", [7] * 9, 3),
        ("--n 6 --class 7 3", [7, 3] * 3, 3),
        ("--n 3 --class 9 --seed 5", [9] * 3, 2),
    ],
)
def test_samples_are_of_the_chosen_classes(
    script: Command, conditional_file: Path, tmp_path: Path, options: str, labels: list[int], columns: int
) -> None:
    seed = 5 if "--seed" in options else 1
    z = latent_noise(generator(), len(labels), rng(seed, "sample"))
    expected = ((sample(load_generator(conditional_file), z, torch.tensor(labels))[:, 0] + 1) * 127.5).numpy()
    for out in ("grid.png", "singles"):
        assert script(sample_script, conditional_file, *options.split(), "--out", out) == (0, f"{out}\n", "")
    for number, image in enumerate(expected):
        single = np.asarray(Image.open(tmp_path / "singles" / f"{number:06d}.png"))
        np.testing.assert_allclose(single, image, atol=0.51)
    by_class = sorted(range(len(labels)), key=lambda k: list(dict.fromkeys(labels)).index(labels[k]))
    picture = np.asarray(Image.open(tmp_path / "grid.png"))[..., 0]
    for place, k in enumerate(by_class):
        top, left = 4 + 60 * (place // columns), 4 + 60 * (place % columns)
        np.testing.assert_allclose(picture[top : top + 56 : 2, left : left + 56 : 2], expected[k], atol=0.51)


def test_morphs_within_a_class_move_the_noise() -> None:
    strips = between_seeds(generator(), [4, 7], strips=12)
    assert [weights.argmax(dim=1).tolist() for _, weights in strips] == [[k % 10] * 2 for k in range(12)]
    assert all(not torch.equal(*latents) for latents, _ in strips)
    [(_, weights)] = between_seeds(generator(), [4, 7, 9], 1, [3, 8])
    assert weights.argmax(dim=1).tolist() == [3, 8, 3]
    [plain] = between_seeds(MLPGenerator(3, [4]), [4, 7], 1)
    assert len(plain) == 1


def test_morphs_between_classes_keep_the_noise(script: Command, conditional_file: Path, tmp_path: Path) -> None:
    network = load_generator(conditional_file)
    first, second = between_digits(network, None, [3, 8, 1], 2, seed=1)
    assert first[1].argmax(dim=1).tolist() == second[1].argmax(dim=1).tolist() == [3, 8, 1]
    assert all(torch.equal(latents, latents[:1].expand(3, -1)) for latents, _ in (first, second))
    assert not torch.equal(first[0], second[0])
    assert script(interpolate, conditional_file, "--digits", 3, 8, 1, "--frames", 3, "--out", "381.png")[0] == 0
    picture = np.asarray(Image.open(tmp_path / "381.png"))[4:60:2, :, 0]
    halfway = torch.zeros(1, 10)
    halfway[:, 3] = halfway[:, 8] = 0.5
    for place, weights in ((0, first[1][:1]), (1, halfway), (4, first[1][2:])):
        expected = (sample(network, first[0][:1], weights)[0, 0] + 1) * 127.5
        np.testing.assert_allclose(picture[:, 4 + 60 * place :][:, :56:2], expected.numpy(), atol=0.51)


def test_classes_of_morphs_have_names(script: Command, refuses: Refuses, tmp_path: Path) -> None:
    path = tmp_path / "named.pth"
    network = generator(3)
    save_generator(network, path, weights="raw", step=1, data_source="pictures", class_names=["10", "2", "cat"])
    for options in ("--digits 2 cat 10", "--digits 1 cat 0", "--seeds 1 1 1 --class 2 cat 10"):
        assert script(interpolate, path, *options.split(), "--frames", 3, "--out", "morph.png")[0] == 0
        assert np.asarray(Image.open(tmp_path / "morph.png")).shape[1] > 5 * 56
    [(latents, weights)] = between_digits(network, None, [1, 2, 0], 1, seed=1)
    expected = (sample(network.eval(), latents, weights)[:, 0] + 1) * 127.5
    assert script(interpolate, path, "--digits", "2", "cat", "10", "--frames", 2, "--out", "morph.png")[0] == 0
    picture = np.asarray(Image.open(tmp_path / "morph.png"))[4:60:2, :, 0]
    for place, image in enumerate(expected):
        np.testing.assert_allclose(picture[:, 4 + 60 * place :][:, :56:2], image.numpy(), atol=0.51)
    refuses(interpolate, [("named.pth --digits cat dog --out x.png", "the class is dog; write one of 10, 2, cat")])


def test_onnx_takes_labels(script: Command, conditional_file: Path, tmp_path: Path) -> None:
    code, printed, error = script(export, conditional_file, "--onnx", "g.onnx", "--safetensors", "g.safetensors")
    assert (code, "no pixel differs" in printed, error) == (0, True, "")
    session = onnxruntime.InferenceSession(tmp_path / "g.onnx", providers=["CPUExecutionProvider"])
    assert [value.name for value in session.get_inputs()] == ["z", "labels"]
    z, labels = torch.randn(5, 3), torch.tensor([9, 0, 0, 4, 9])
    (images,) = session.run(None, {"z": z.numpy(), "labels": labels.numpy()})
    torch.testing.assert_close(torch.from_numpy(images), sample(load_generator(conditional_file), z, labels))
    torch.testing.assert_close(torch.from_numpy(images), sample(load_generator(tmp_path / "g.safetensors"), z, labels))


SAMPLE_MISTAKES = [
    ("mnist_generator.pth --class 10 --out x", "the class is 10; write one of 0, 1, 2, 3"),
    ("mnist_generator.pth --class 3 12 --out x.png", "the class is 12; write one of 0, 1"),
    ("mnist_generator.pth --class -1 --out x.png", "the class is -1; write one of 0, 1, 2"),
    ("mnist_generator.pth --class seven --out x.png", "the class is seven; write one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"),
    ("plain.pth --class 3 --out x.png", "the class is 3; leave it out, for this generator has no classes"),
]
INTERPOLATE_MISTAKES = [
    ("mnist_generator.pth --digits 3 10 --out x.png", "the class is 10; write one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"),
    ("mnist_generator.pth --seeds 1 2 --class 10 --out x.png", "the class is 10; write one of"),
    ("mnist_generator.pth --seeds 3 8 --class 1 2 3 --out x.png", "--class holds 3 classes for 2 seeds; write fewer"),
    ("mnist_generator.pth --digits 3 8 --class 1 --out x.png", "--class goes with --seeds; write the classes as --dig"),
    ("mnist_generator.pth --digits 3 --out x.png", "needs 2 or more waypoints, not 1"),
    ("plain.pth --seeds 1 2 --class 3 --out x.png", "the class is 3; leave it out, for this generator has no classes"),
]


@pytest.mark.parametrize(("main", "mistakes"), [(sample_script, SAMPLE_MISTAKES), (interpolate, INTERPOLATE_MISTAKES)])
@pytest.mark.usefixtures("conditional_file")
def test_classes_that_are_not_there_get_one_line(refuses: Refuses, tmp_path: Path, main: Any, mistakes: Any) -> None:
    save_generator(MLPGenerator(3, [4]), tmp_path / "plain.pth", weights="raw", step=1, data_source="packaged")
    refuses(main, mistakes)


# Whole runs

TINY = (
    "--data.source packaged --data.batch_size 20 --trainer.max_steps 3 --model.generator.latent_dim 3 "
    "--model.generator.widths [8,8] --model.generator.channels 2 --model.discriminator.width 4 --model.d_reg_interval 2"
)


def test_run_makes_classes_everywhere(twofold: Command, script: Command) -> None:
    quick = Path("quick.yaml")
    text = (Path(__file__).parents[1] / "configs" / "gan_conditional.yaml").read_text()
    quick.write_text(text.replace("final_samples: 10000", "final_samples: 50"))
    code, out, err = twofold(f"fit -c {quick} {TINY}")
    assert (code, err) == (0, "")
    folder = Path(out.splitlines()[-1].removeprefix("results in "))
    file = folder / "mnist_generator.pth"
    assert json.loads(file.with_suffix(".json").read_text())["network"]["arguments"]["classes"] == 10
    assert (folder / "quality.json").exists()
    for command in ("validate", "test", "predict"):
        assert twofold(f"{command} -c {folder}/config.yaml --ckpt_path last")[::2] == (0, "")
    assert script(sample_script, file, "--class", 7, "--n", 4, "--out", "sevens.png")[0] == 0

    index = ModelIndex(Path("runs"))
    [(_, name)] = index.generators()
    explorer = GANExplorer(index)
    assert explorer.classes(name) == [*string.digits]
    assert explorer.classes(None) == explorer.classes("nowhere") == []
    network = load_generator(file)
    [(latents, weights)] = between_seeds(network, [1, 2], 1, [3, 8])
    middle = sample(network, latents.mean(dim=0, keepdim=True), weights.mean(dim=0, keepdim=True))
    frame, _, _ = explorer.frame(name, "seeds", 1, 2, "lerp", 0.5, 3, 8)
    np.testing.assert_allclose(np.asarray(frame)[5::10, 5::10], (middle[0, 0] + 1) * 127.5, atol=0.51)
    same, other = (explorer.frame(name, "seeds", 1, end, "slerp", 0.0, 3, 8)[0] for end in (2, 5))
    assert same.tobytes() == other.tobytes() != explorer.frame(name, "seeds", 1, 2, "slerp", 1.0, 3, 8)[0].tobytes()
    assert not explorer.makes_digits(name)
    assert explorer.strip(name, "seeds", 1, 2, "lerp", 3)[0].width > 500
    whole, sevens = explorer.samples(name, 1)[0], explorer.samples(name, 1, [7])[0]
    assert (whole.height > sevens.height, whole.width) == (True, sevens.width)
    with pytest.raises(UsageError, match="this generator has classes; choose seeds, and the class of each"):
        explorer.frame(name, "digits", 3, 8, "lerp", 0.0)


PICTURES = "gan_conditional --data ImageFolderDataModule --data.root pictures"


@pytest.mark.filterwarnings("ignore:GenerativeMetrics leaves FID")
def test_classes_of_a_folder_of_pictures(twofold: Command, script: Command) -> None:
    write_pictures(Path("pictures"))
    code, out, err = twofold(f"fit -c {PICTURES} {TINY.removeprefix('--data.source packaged ')}")
    assert (code, err) == (0, "")
    file = Path(out.splitlines()[-1].removeprefix("results in ")) / "mnist_generator.pth"
    for classes in ((2, 0), ("emu", "cat")):
        assert script(sample_script, file, "--class", *classes, "--n", 4, "--out", f"{classes[0]}", "--seed", 1)[0] == 0
    by_number, by_name = ([path.read_bytes() for path in sorted(Path(name).iterdir())] for name in ("2", "emu"))
    assert by_number == by_name
    complained = script(sample_script, file, "--class", 3, "--out", "none.png")[2]
    assert "the class is 3; write one of cat, dog, emu" in complained
    write_pictures(Path("pictures"), ("fox",))
    code, _, err = twofold(f"test -c {file.parent / 'config.yaml'} --ckpt_path last")
    assert (code, "the model of this config: generator.classes is 3 there and 4 here" in err) == (2, True)
    write_pictures(Path("flat"), ())
    code, _, err = twofold(f"fit -c {PICTURES} --data.root flat")
    assert (code, "the model needs classes, and flat has none; make a folder for each class" in err) == (2, True)


@pytest.mark.parametrize(
    ("dataset", "given", "expected"), [("mnist", 3, 10), ("emnist_letters", 10, 26), ("mnist", 0, 0)]
)
def test_number_of_classes_follows_from_the_data(dataset: str, given: int, expected: int) -> None:
    settings: Any = Namespace()  # type: ignore[no-untyped-call]
    settings["data.class_path"] = "datamodules.MNISTDataModule"
    settings["data.init_args.dataset"] = dataset
    names = [f"model.init_args.{network}.init_args.classes" for network in ("generator", "discriminator")]
    for name in names:
        settings[name] = given
    apply_links(settings, [])
    assert [settings[name] for name in names] == [expected] * 2


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (
            "gan_conditional --model.generator.classes 26",
            "--model.generator.classes can't be 26; write 10, because the data have 10 classes",
        ),
        (
            "gan --model.discriminator.classes=3",
            "--model.discriminator.classes can't be 3; write 10, because the data have 10 classes",
        ),
        ("gan_conditional --model.generator.classes 0", "the generator has 0 classes, but the discriminator 10; write"),
        ("gan --model.generator.classes 10", "the generator has 10 classes, but the discriminator 0; write the same"),
        ("gan_conditional --model.generator.normalisation none", "the class enters by BatchNorm, which needs normalis"),
        (
            "gan_conditional --model.generator.classes many",
            "--model.generator.classes can't be many; write a whole num",
        ),
        ("gan_conditional --model.discriminator networks.mlp_gan.MLPDiscriminator", "but the discriminator 0; write"),
    ],
)
def test_settings_of_classes_that_do_not_fit_are_one_line(twofold: Command, command: str, words: str) -> None:
    code, out, err = twofold(f"fit -c {command} --data.source packaged")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert words in err
    assert not Path("runs").exists()
