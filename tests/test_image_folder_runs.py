"""Runs on pictures of your own, from training to every picture, and classifiers of them that are given by path."""

import json
import re
import shlex
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from pictures import CLASSES, write_pictures
from PIL import Image
from small_modules import small_gan

from benchmarks.bitwise_diff import differences
from callbacks import GenerativeMetrics
from datamodules import FlipFlopDataModule, ImageFolderDataModule, MNISTDataModule, PalindromeDataModule
from lightning_modules import GAN, DigitClassifier, PalindromeLSTM, SequenceModel
from networks.classifiers import DigitReader
from networks.generator_files import read_metadata, save_generator
from networks.lstm import LSTM
from networks.mlp_gan import MLPDiscriminator, MLPGenerator
from scripts.explorer.gan import GANExplorer
from scripts.explorer.model_index import ModelIndex
from scripts.interpolate import main as interpolate
from scripts.sample import main as sample
from twofold.tables import read_rows

Command = Callable[..., tuple[int, str, str]]
Save = Callable[[LightningModule, LightningDataModule, Path], None]

TINY = (
    "--data.batch_size 8 --trainer.max_steps 6 --trainer.log_every_n_steps 1 --model.generator.latent_dim 3 "
    "--model.generator.widths [8] --model.generator.channels 2 --model.discriminator.width 4 --model.d_reg_interval 2 "
    "--checkpoint.every_n_train_steps 2 --checkpoint.save_top_k 3"
)
EVALUATED = "--trainer.callbacks.every_n_batches 3 --trainer.callbacks.samples 5 --trainer.callbacks.final_samples 5"
CLASSIFIER = "--data.batch_size 8 --trainer.max_steps 2 --checkpoint.every_n_train_steps 2"


def fit(twofold: Command, command: str, *options: str) -> Path:
    """The folder of a run that prints nothing on stderr."""
    code, out, err = twofold(f"fit -c {command}", *options)
    assert (code, err) == (0, "")
    return Path(out.splitlines()[-1].removeprefix("results in "))


@pytest.mark.filterwarnings("ignore:GenerativeMetrics leaves FID")
@pytest.mark.parametrize(
    ("classes", "size", "mode", "options"),
    [
        (CLASSES, (32, 32), "RGB", ""),
        ((), (28, 28), "L", ""),
        pytest.param((), (48, 64), "RGB", "--data.image_shape [3,32,32]", marks=pytest.mark.slow),
        pytest.param(CLASSES, (28, 28), "L", "--data.image_shape [3,32,32]", marks=pytest.mark.slow),
    ],
)
def test_run_on_pictures_from_training_to_explorer(
    twofold: Command, script: Command, classes: tuple[str, ...], size: tuple[int, int], mode: str, options: str
) -> None:
    root = write_pictures(Path("my pictures"), classes, 30, size, mode)
    shape = [3, 32, 32] if options else [3 if mode == "RGB" else 1, *size]
    folder = fit(twofold, f"gan_folder {TINY} {options}", "--data.root", str(root))
    metadata = read_metadata(folder / "mnist_generator.pth")
    assert metadata["network"]["arguments"]["image_shape"] == shape
    assert metadata["data_source"].startswith("pictures-")
    assert (folder / "images" / "step_000000.png").exists()
    for command in ("test", "predict"):
        code, _, err = twofold(f"{command} -c {folder}/config.yaml --ckpt_path last")
        assert (code, err) == (0, "")
    with Image.open(folder / "samples" / "000000.png") as picture:
        assert picture.size == (shape[2], shape[1])
    assert script(sample, folder / "mnist_generator.pth", "--n", 4, "--out", "grid.png")[0] == 0
    assert script(interpolate, folder / "mnist_generator.pth", "--seeds", 1, 2, "--out", "strip.png")[0] == 0
    index = ModelIndex(Path("runs"))
    [(_, name)] = index.generators()
    assert not GANExplorer(index).makes_digits(name)
    frame, probabilities, origin = GANExplorer(index).frame(name, "seeds", 1, 2, "lerp", 0.5)
    assert (frame.size[0] % shape[2], probabilities) == (0, {})
    assert origin == f"after 6 batches of {metadata['data_source']}"


@pytest.mark.filterwarnings("ignore:GenerativeMetrics leaves FID")
def test_resumed_run_ends_with_the_same_bits(twofold: Command, tmp_path: Path) -> None:
    root = write_pictures(Path("pictures"))
    folder = fit(twofold, f"gan_folder {TINY} --data.root {root}")
    killed = tmp_path / "runs" / "gan_folder" / "killed"
    shutil.copytree(folder, killed)
    for name in ("step=000006", "last"):
        (killed / "checkpoints" / f"{name}.ckpt").unlink()
    facts = {name: value for name, value in json.loads((killed / "run.json").read_text()).items() if name != "state"}
    (killed / "run.json").write_text(json.dumps({**facts, "step": 4}))
    shutil.copytree(root, "others")
    Image.new("RGB", (32, 32)).save("others/cat/00.png")
    code, _, err = twofold(f"fit -c {killed}/config.yaml --ckpt_path last --data.root others")
    assert (code, err.count("\n")) == (2, 1)
    assert "this run was trained on pictures-" in err
    code, _, err = twofold(f"fit -c {killed}/config.yaml --ckpt_path last")
    assert (code, err) == (0, "")
    assert differences(folder, killed) == []
    code, _, err = twofold(f"test -c {killed}/config.yaml --ckpt_path last --data.root others")
    assert (code, err.count("\n")) == (0, 1)
    assert "of which it may have seen a part" in err


def test_discriminator_gets_the_statistics_of_the_pictures(twofold: Command) -> None:
    root = write_pictures(Path("pictures"))
    shown: list[Any] = []
    for options in ("", "--model.discriminator.mean 0 --model.discriminator.std 1"):
        with pytest.warns(UserWarning, match="leaves FID"):
            folder = fit(twofold, f"gan_folder {TINY} --data.root {root} {options}")
        text = (folder / "config.yaml").read_text()
        shown.append(tuple(float(value) for value in re.findall(r"^ +(?:mean|std): (.+)$", text, re.MULTILINE)))
    assert shown[0] == ImageFolderDataModule(root).mean_and_std
    assert shown[1] == (0, 1)


# Classifiers of these pictures.


def test_classifier_of_the_pictures_is_given_by_path(twofold: Command, tmp_path: Path) -> None:
    root = write_pictures(Path("my pictures"), each=50)
    with pytest.warns(UserWarning, match="leaves FID and its other numbers out: digit_cnn doesn't fit") as caught:
        fit(twofold, f"gan_folder {TINY}", "--data.root", str(root))
    said = str(caught[0].message)
    command = shlex.split(said.partition("train one by twofold ")[2].partition(", and write")[0])
    assert command[:3] == ["fit", "-c", "digit_classifier"]
    code, out, err = twofold(" ".join(command[:1]), *command[1:], *CLASSIFIER.split())
    assert (code, err) == (0, "")
    run = Path(out.splitlines()[-1].removeprefix("results in "))
    option = said.partition("and write ")[2].split()[0]
    assert option == "--trainer.callbacks.classifier"
    for classifier in (run, run / "checkpoints" / "last.ckpt"):
        folder = fit(twofold, f"gan_folder {TINY} {EVALUATED} {option} {classifier}", "--data.root", str(root))
        rows = [row for row in read_rows(folder / "metrics.csv") if row["quality/fid"]]
        assert [row["step"] for row in rows] == ["2", "5"]
        shares = [float(rows[0][f"quality/class_{number}"]) for number in range(3)]
        assert sum(shares) == pytest.approx(1)
        assert "quality/class_3" not in rows[0]
        quality = json.loads((folder / "quality.json").read_text())
        assert quality["classifier"] == str(classifier)
        assert quality["raw"]["fid"] > 0
    code, out, err = twofold(f"test -c {folder}/config.yaml --ckpt_path last")
    assert (code, err) == (0, "")
    [row] = read_rows(folder / "test.csv")
    assert float(row["test/ema/fid"]) > 0
    assert "test/ema/class_2_real" in row
    assert not (root / "classifiers").exists()


def _classifier(save: Save, root: Path, image_shape: tuple[int, int, int], path: Path) -> None:
    """A classifier of the pictures in this folder, trained for a step."""
    data = ImageFolderDataModule(root, batch_size=8, image_shape=image_shape)
    save(DigitClassifier(DigitReader(4, image_shape, data.classes), classes=data.classes), data, path)


def _gan_of(image_shape: tuple[int, int, int]) -> GAN:
    return GAN(MLPGenerator(3, [4], image_shape=image_shape), MLPDiscriminator([4], image_shape=image_shape))


def test_classifiers_that_do_not_fit_are_refused(
    plain_trainer: Callable[..., Trainer], save_trained: Save, tmp_path: Path
) -> None:
    root, others = write_pictures(tmp_path / "some"), write_pictures(tmp_path / "others", ("ape", "dog", "emu"))
    fewer, data = write_pictures(tmp_path / "fewer", CLASSES[:2]), ImageFolderDataModule(root, batch_size=8)
    for folder, image_shape, words in (
        (root, (1, 32, 32), r"the classifier takes images of the shape \(1, 32, 32\), not \(3, 32, 32\); train one by"),
        (root, (3, 28, 28), r"the classifier takes images of the shape \(3, 28, 28\), not \(3, 32, 32\); train one by"),
        (
            others,
            (3, 32, 32),
            r"knows 3 classes \(ape, dog, emu\), and the data have 3 classes \(cat, dog, emu\); train",
        ),
        (fewer, (3, 32, 32), r"knows 2 classes \(cat, dog\), and the data have 3 classes \(cat, dog, emu\); train one"),
    ):
        _classifier(save_trained, folder, image_shape, tmp_path / "c.ckpt")
        trainer = plain_trainer(callbacks=[GenerativeMetrics(classifier=str(tmp_path / "c.ckpt"), final_samples=5)])
        for work in (trainer.fit, partial(trainer.test, verbose=False)):
            with pytest.raises(ValueError, match=f"c.ckpt doesn't fit these images: .*{words}"):
                work(_gan_of((3, 32, 32)), datamodule=data)


def test_classifier_of_other_pictures_of_these_classes_is_named(
    plain_trainer: Callable[..., Trainer], save_trained: Save, tmp_path: Path
) -> None:
    root, path = write_pictures(tmp_path / "some", each=30), tmp_path / "classifier.ckpt"
    _classifier(save_trained, write_pictures(tmp_path / "others", each=31), (3, 32, 32), path)
    trainer = plain_trainer(1, callbacks=[GenerativeMetrics(classifier=str(path), final_samples=0)])
    with pytest.warns(UserWarning, match="the classifier was trained on pictures-.* and these images are pictures-"):
        trainer.fit(_gan_of((3, 32, 32)), datamodule=ImageFolderDataModule(root, batch_size=8))


@pytest.mark.usefixtures("in_process")  # in a new folder
def test_paths_that_are_no_classifier_are_refused(save_trained: Save) -> None:
    save_trained(small_gan(), MNISTDataModule(source="packaged"), Path("gan.ckpt"))
    save_trained(PalindromeLSTM(4), PalindromeDataModule(5), Path("lstm.ckpt"))
    save_trained(SequenceModel(LSTM(5, 4)), FlipFlopDataModule(8), Path("sequences.ckpt"))
    save_generator(small_gan().generator, "generator.pth", weights="raw", step=1, data_source="unnamed")
    Path("text.ckpt").write_text("some words")
    Path("empty").mkdir()
    isnt = "isn't the checkpoint of a classifier; train one by twofold fit -c digit_classifier"
    for path, words in (
        ("gan.ckpt", isnt),
        ("lstm.ckpt", isnt),
        ("generator.pth", isnt),
        ("sequences.ckpt", "names a LSTM, which isn't a classifier with features; train a DigitCNN or a DigitReader"),
        ("text.ckpt", "text.ckpt is damaged or holds more than tensors and plain values"),
        ("empty", "empty is no run with a checkpoint; write the folder of a run, or the path of a checkpoint"),
        ("nowhere", "there is no classifier 'nowhere'; write one of digit_cnn, digit_reader, or the path of a run of"),
        ("", "there is no classifier ''; .*; the setting is --trainer.callbacks.classifier"),
    ):
        with pytest.raises(ValueError, match=words):
            GenerativeMetrics(classifier=path)


def test_commands_with_other_classifiers_get_one_line(twofold: Command, save_trained: Save) -> None:
    root = write_pictures(Path("pictures"))
    _classifier(save_trained, root, (1, 32, 32), Path("grey.ckpt"))
    Path("text.ckpt").write_text("some words")
    for classifier, words in (
        (
            "grey.ckpt",
            "not (3, 32, 32); train one by twofold fit -c digit_classifier --data ImageFolderDataModule --da",
        ),
        ("text.ckpt", "text.ckpt is damaged or holds more than tensors and plain values"),
    ):
        code, out, err = twofold(
            f"fit -c gan_folder {TINY} --data.root pictures --trainer.callbacks.classifier", classifier
        )
        assert (code, out, err.count("\n")) == (2, "", 1), err
        assert words in err
        assert len(err) < 400
    assert not Path("runs").exists()


def test_fid_is_left_out_with_few_pictures(
    plain_trainer: Callable[..., Trainer], save_trained: Save, tmp_path: Path
) -> None:
    root, path = write_pictures(tmp_path / "pictures", each=5), tmp_path / "classifier.ckpt"
    _classifier(save_trained, root, (3, 28, 28), path)
    callback = GenerativeMetrics(1, 4, 4, classifier=str(path))
    trainer = plain_trainer(callbacks=[callback], max_steps=2, default_root_dir=tmp_path / "run")
    with pytest.warns(UserWarning, match="leaves FID and its other numbers out: a split has 2 images; 4 are needed"):
        trainer.fit(_gan_of((3, 28, 28)), datamodule=ImageFolderDataModule(root, batch_size=4, image_shape=(3, 28, 28)))
    assert not (tmp_path / "run" / "quality.json").exists()
