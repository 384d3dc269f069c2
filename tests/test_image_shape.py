"""Images of other sizes and in colour: networks, runs from training to every picture, and what is refused."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image
from torch import nn

from datamodules import MNISTDataModule
from lightning_modules import GAN, DigitClassifier
from networks.classifiers import DigitCNN, DigitReader
from networks.dcgan import DCGANDiscriminator, DCGANGenerator
from networks.generator_files import load_generator, save_generator
from networks.mlp_conv_gan import MLPConvGenerator, PixelUnshuffleDiscriminator
from networks.mlp_gan import MLPDiscriminator, MLPGenerator
from networks.registry import from_spec, to_spec
from scripts.explorer.gan import GANExplorer
from scripts.explorer.model_index import ModelIndex
from scripts.export import main as export
from scripts.interpolate import main as interpolate
from scripts.sample import main as sample

Shape = tuple[int, int, int]
Command = Callable[..., tuple[int, str, str]]
Make = Callable[[Shape], nn.Module]

PAIRS: list[tuple[Make, Make]] = [
    (lambda s: MLPGenerator(3, [4], image_shape=s), lambda s: MLPDiscriminator([4], image_shape=s)),
    (lambda s: DCGANGenerator(3, 2, image_shape=s), lambda s: DCGANDiscriminator(2, image_shape=s)),
    (lambda s: MLPConvGenerator(3, [4], 2, image_shape=s), lambda s: PixelUnshuffleDiscriminator(2, 4, image_shape=s)),
]
TINY = (
    "--data.source packaged --data.batch_size 8 --trainer.max_steps 2 --model.generator.latent_dim 3 "
    "--model.generator.widths [8] --model.generator.channels 2 --model.discriminator.width 4 --model.d_reg_interval 2"
)


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 28, 28), (1, 32, 32), (3, 32, 32), (2, 8, 12)])
def test_networks_have_the_image_shape(pair: tuple[Make, Make], shape: Shape, tmp_path: Path) -> None:
    generator, discriminator = (make(shape).eval() for make in pair)
    z = torch.randn(2, 3)
    images = generator(z)
    assert images.shape == (2, *shape)
    assert discriminator(images).shape == (2,)
    GAN(generator, discriminator)
    save_generator(generator, tmp_path / "g.pth", weights="raw", step=1, data_source="unnamed")
    assert json.loads((tmp_path / "g.json").read_text())["network"]["arguments"]["image_shape"] == list(shape)
    assert torch.equal(load_generator(tmp_path / "g.pth")(z), images)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 28, 28), (1, 32, 32), (3, 32, 32), (2, 8, 12)])
def test_classifiers_have_the_image_shape_and_classes(shape: Shape) -> None:
    images = torch.rand(2, *shape) * 2 - 1
    for network in (DigitCNN(shape, 26), DigitReader(4, shape, 26)):
        assert network.eval()(images).shape == (2, 26)
        assert network.features(images).shape == (2, 128)
        again = from_spec(to_spec(network), nn.Module)
        assert (again.image_shape, again.classes) == (shape, 26)
        DigitClassifier(network, classes=26)


def test_reader_reads_all_channels_of_a_row() -> None:
    reader, rows = DigitReader(4, (3, 8, 12)).eval(), []
    reader.rows.register_forward_pre_hook(lambda _, inputs: rows.append(inputs[0]))
    images = torch.rand(2, 3, 8, 12) * 2 - 1
    reader(images)
    torch.testing.assert_close(rows[0][5], (images[:, :, 5].flatten(1) + 1) / 2)


def is_colour(picture: Image.Image) -> bool:
    red, green, blue = (picture.convert("RGB").getchannel(channel) for channel in "RGB")
    return not red.tobytes() == green.tobytes() == blue.tobytes()


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 28, 28), (1, 32, 32), (3, 32, 32)])
def test_run_of_a_shape_from_training_to_every_picture(twofold: Command, script: Command, shape: Shape) -> None:
    written = str([*shape])
    quick = Path("quick.yaml")
    text = (Path(__file__).parents[1] / "configs" / "gan.yaml").read_text()
    quick.write_text(text.replace("final_samples: 10000", "final_samples: 50"))
    left_out = shape != (1, 28, 28)
    with pytest.warns(UserWarning, match="leaves FID") if left_out else nullcontext():
        code, out, err = twofold(f"fit -c {quick} {TINY}", "--data.image_shape", written)
    assert (code, err) == (0, "")
    folder = Path(out.splitlines()[-1].removeprefix("results in "))
    assert (folder / "quality.json").exists() == (not left_out)
    generator = folder / "mnist_generator.pth"
    assert json.loads(generator.with_suffix(".json").read_text())["network"]["arguments"]["image_shape"] == [*shape]

    for arguments in ((sample, "--n", 4, "--out", "grid.png"), (sample, "--n", 2, "--out", "single")):
        assert script(arguments[0], generator, *arguments[1:])[0] == 0
    assert script(interpolate, generator, "--seeds", 1, 2, "--out", "strip.png")[0] == 0
    code, out, _ = script(export, generator, "--onnx", "g.onnx", "--safetensors", "g.safetensors")
    assert (code, "no pixel differs" in out) == (0, True)
    assert load_generator("g.safetensors")(torch.zeros(2, 3)).shape == (2, *shape)
    index = ModelIndex(Path("runs"))
    [(_, name)] = index.generators()
    explorer, between = GANExplorer(index), ("seeds", 1, 2, "lerp")
    frame, probabilities, _ = explorer.frame(name, *between, 0.5)
    assert frame.size == {28: (280, 280), 32: (256, 256)}[shape[1]]
    assert len(probabilities) == (10 if shape == (1, 28, 28) else 0)
    pictures = [frame, explorer.strip(name, *between)[0], explorer.samples(name, 1)[0]]
    files = [folder / "images" / "step_000000.png", folder / "interpolation.png", Path("grid.png"), Path("strip.png")]
    pictures += [Image.open(path) for path in (*files, Path("single/000001.png"))]
    assert pictures[-1].size == (shape[2], shape[1])
    assert [is_colour(picture) for picture in pictures] == [shape[0] == 3] * len(pictures)

    code, _, err = twofold(f"predict -c {folder}/config.yaml --ckpt_path last")
    assert (code, err) == (0, "")
    with Image.open(next(folder.rglob("samples/*.png"))) as picture:
        assert picture.size == (shape[2], shape[1])


def test_data_are_padded_and_the_same_in_each_channel() -> None:
    plain, padded = MNISTDataModule(source="packaged"), MNISTDataModule(source="packaged", image_shape=(3, 33, 32))
    for data in (plain, padded):
        data.setup()
    images, labels = next(iter(plain.test_dataloader()))
    larger, same = next(iter(padded.test_dataloader()))
    assert larger.shape == (64, 3, 33, 32)
    assert torch.equal(labels, same)
    assert all(torch.equal(larger[:, channel, 2:30, 2:30], images[:, 0]) for channel in range(3))
    assert larger.sum().item() == pytest.approx(3 * (images.sum().item() - 64 * (33 * 32 - 28 * 28)), rel=1e-5)


def test_classifier_is_trained_on_another_shape(twofold: Command) -> None:
    short = "--data.source packaged --data.batch_size 8 --trainer.max_steps 1 --trainer.limit_val_batches 1"
    for config in ("digit_classifier", "digit_reader"):
        code, _, err = twofold(f"fit -c {config} {short}", "--data.image_shape", "[3, 32, 32]")
        assert (code, err) == (0, "")


def gan_of(generator: Shape, discriminator: Shape) -> GAN:
    return GAN(MLPGenerator(3, [4], image_shape=generator), MLPDiscriminator([4], image_shape=discriminator))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: MLPGenerator(image_shape=(3, 32)),
            r"image_shape is \[3, 32\]; write channels, height and width, such",
        ),
        (
            lambda: MLPDiscriminator(image_shape=(0, 28, 28)),
            r"image_shape is \[0, 28, 28\]; write channels, height and",
        ),
        (
            lambda: DCGANGenerator(image_shape=(1, 28, 30)),
            r"needs a height .* multiples of 4; .* such as \[1, 28, 32\]",
        ),
        (lambda: DCGANDiscriminator(image_shape=(3, 5, 8)), r"multiples of 4; write a shape such as \[3, 8, 8\]"),
        (lambda: MLPConvGenerator(image_shape=(1, 27, 28)), r"multiples of 2; write a shape such as \[1, 28, 28\]"),
        (lambda: PixelUnshuffleDiscriminator(image_shape=(1, 30, 30)), "PixelUnshuffleDiscriminator needs a height"),
        (lambda: DigitCNN((1, 30, 30)), "DigitCNN needs a height and a width that are multiples of 4"),
        (lambda: DigitCNN(classes=0), "classes is 0; write 1 or more"),
        (lambda: DigitClassifier(DigitCNN(), classes=26), r"for 2 images DigitCNN returns \(2, 10\); return 26 logits"),
        (
            lambda: MNISTDataModule(image_shape=(1, 20, 28)),
            r"image_shape is \[1, 20, 28\]; write a height and a width of",
        ),
        # The discriminator's linear layer would take these images, row after row of others.
        (lambda: gan_of((1, 28, 28), (4, 14, 14)), r"images of the shape \(1, 28, 28\), .* takes \(4, 14, 14\); write"),
    ],
)
def test_other_shapes_are_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.usefixtures("unchecked")
def test_images_and_labels_that_do_not_fit_the_networks_are_refused(plain_trainer: Callable[..., Trainer]) -> None:
    data = MNISTDataModule(source="packaged", batch_size=8)
    for module in (gan_of((3, 32, 32), (3, 32, 32)), DigitClassifier(DigitCNN((3, 32, 32)))):
        with pytest.raises(
            ValueError, match=r"images have the shape \(1, 28, 28\), but the networks take \(3, 32, 32\)"
        ):
            plain_trainer().fit(module, datamodule=data)
    with pytest.raises(
        ValueError, match=r"a label is \d, but the classifier has the classes 0 to 2; write the number of"
    ):
        plain_trainer().fit(DigitClassifier(DigitCNN(classes=3), classes=3), datamodule=data)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (
            "gan --data.image_shape [1,30,30]",
            "image_shape is [1, 30, 30], but PixelUnshuffleDiscriminator needs a heig",
        ),
        (
            "gan --data.image_shape [1,28]",
            "image_shape is [1, 28]; write channels, height and width, such as [1, 28, 28]",
        ),
        ("gan --data.image_shape 32", "--data.image_shape can't be 32; write a list in brackets"),
        (
            "gan --model.generator.image_shape [3,32,32]",
            "--model.generator.image_shape follows from the data; write --da",
        ),
        (
            "dcgan --model.discriminator.image_shape=[1,4,4]",
            "image_shape follows from the data; write --data.image_sha",
        ),
        ("digit_classifier --model.classes 26", "--model.classes can't be 26; write 10, because the data"),
        (
            "digit_reader --model.network.classes 26",
            "--model.network.classes can't be 26; write 10, because the data",
        ),
    ],
)
def test_settings_that_do_not_fit_are_one_line(twofold: Command, command: str, words: str) -> None:
    code, out, err = twofold(f"fit -c {command} --data.source packaged")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert words in err
    assert not Path("runs").exists()
