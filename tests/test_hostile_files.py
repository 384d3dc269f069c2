"""Whatever a file is or holds: opening it runs nothing, takes no memory, leaves nothing, and one line says why not."""

import json
import os
import shutil
import socket
import struct
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from safetensors.torch import save_file

from common.files import MOST_BYTES, MOST_TEXT, write_safetensors
from datamodules import MNISTDataModule, PalindromeDataModule
from lightning_modules import GAN, DigitClassifier, PalindromeLSTM, PalindromeRNN
from metrics import features
from metrics.features import load_classifier
from networks.classifiers import DigitCNN
from networks.generator_files import read_metadata, save_generator
from networks.mlp_gan import MLPGenerator
from networks.registry import to_spec
from scripts import export, interpolate, plot_gates, sample, train_classifier
from twofold.main import main as twofold_main

Answer = tuple[int, str, str]
Open = Callable[[Path], Answer]

ROOT = Path(__file__).parents[1]
MOST_MEMORY = 300e6
"""Bytes more than before; a file here has some 10⁵ and claims 10⁹ or more."""

QUICK = (
    "--trainer.max_steps 1 --trainer.enable_progress_bar false --trainer.logger false --trainer.callbacks null "
    "--data.batch_size 4"
)
SMALL = {
    "palindrome_lstm": "--model.hidden_size 4",
    "palindrome_rnn": "--model.hidden_size 4",
    "digit_classifier": "--data.source packaged",
    "gan": "--data.source packaged --model.generator.widths [8] --model.discriminator.channels 2",
}
MODULES: dict[str, type[LightningModule]] = {
    "palindrome_lstm": PalindromeLSTM,
    "palindrome_rnn": PalindromeRNN,
    "digit_classifier": DigitClassifier,
    "gan": GAN,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folders of four runs of one batch."""
    folders = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("trained"))
        patch.setattr(warnings, "formatwarning", warnings.formatwarning)
        for name in ("TWOFOLD_RUNS", "PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
            patch.setenv(name, "")
            patch.delenv(name)
        for experiment, options in SMALL.items():
            config = ROOT / "configs" / f"{experiment}.yaml"
            assert twofold_main(["fit", "-c", str(config), *QUICK.split(), *options.split()]) == 0
            [folder] = Path("runs").absolute().glob(f"{experiment}/*")
            folders[experiment] = folder
    return folders


@pytest.fixture
def runs(trained: dict[str, Path], tmp_path: Path) -> dict[str, Path]:
    """A copy of them, in which they aren't finished."""
    copies = {}
    for experiment, folder in trained.items():
        copies[experiment] = copy = tmp_path / "runs" / experiment / folder.name
        shutil.copytree(folder, copy)
        facts = json.loads((copy / "run.json").read_text())
        (copy / "run.json").write_text(json.dumps({**facts, "state": "interrupted"}))
    return copies


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file that the module `hostile` writes when it is imported; it stands on the path, and isn't to be."""
    path = tmp_path / "imported"
    (tmp_path / "hostile.py").write_text(f"open({str(path)!r}, 'w')\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield path
    assert not path.exists()
    assert "hostile" not in sys.modules


@pytest.fixture
def doors(
    runs: dict[str, Path], twofold: Callable[..., Answer], script: Callable[..., Answer], tmp_path: Path
) -> dict[str, tuple[Path, Open]]:
    """Each way in: a good file, and what opens it or another, and gives exit code, what it printed and complained."""
    checkpoints = {experiment: folder / "checkpoints" / "step=000001.ckpt" for experiment, folder in runs.items()}
    generator = tmp_path / "generator" / "mnist_generator.pth"
    save_generator(MLPGenerator(2, [3]), generator, weights="raw", step=1, data_source="packaged")

    def command(name: str) -> Open:
        config = runs["palindrome_lstm"] / "config.yaml"
        return lambda path: twofold(name, "-c", config, "--ckpt_path", path)

    def load(cls: type[LightningModule]) -> Open:
        def open_it(path: Path) -> Answer:
            try:
                cls.load_from_checkpoint(path)
            except ValueError as error:
                return 2, "", " ".join(str(error).split()) + "\n"
            return 0, "", ""

        return open_it

    def ship(path: Path) -> Answer:
        folder = runs["digit_classifier"]
        facts = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps({**facts, "state": "finished", "data_source": "torchvision"}))
        best = folder / "checkpoints" / "best.ckpt"
        best.unlink(missing_ok=True)
        os.rename(path, best)  # whatever it is
        try:
            return script(train_classifier.main, folder, "--out", tmp_path / "shipped")
        finally:
            os.rename(best, path)

    return {
        **{name: (checkpoints["palindrome_lstm"], command(name)) for name in ("test", "validate", "predict")},
        **{f"{cls.__name__}.load": (checkpoints[experiment], load(cls)) for experiment, cls in MODULES.items()},
        "plot_gates": (checkpoints["palindrome_rnn"], lambda path: script(plot_gates.main, path)),
        "train_classifier": (checkpoints["digit_classifier"], ship),
        "export": (generator, lambda path: script(export.main, path, "--safetensors", "x.safetensors")),
        "sample": (generator, lambda path: script(sample.main, path, "--n", 1, "--out", "x.png")),
        "interpolate": (generator, lambda path: script(interpolate.main, path, "--seeds", 1, 2, "--out", "x.png")),
    }


DOORS = (
    *("test", "validate", "predict"),
    *(f"{cls.__name__}.load" for cls in MODULES.values()),
    *("plot_gates", "train_classifier", "export", "sample", "interpolate"),
)


class Touches:
    """Writes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def with_extra(path: Path, extra: Any, **options: Any) -> None:
    """Puts one thing more into a file of torch's."""
    content = torch.load(path, weights_only=True)
    torch.save({**content, "extra": extra}, path, **options)


def replaced_by(make: Callable[[Path], Any]) -> Callable[[Path], None]:
    def replace(path: Path) -> None:
        path.unlink()
        make(path)

    return replace


def bomb(path: Path) -> None:
    """Compresses zeros into the file, a thousand times smaller than they are."""
    with_extra(path, torch.zeros(1))
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    largest = max(parts, key=lambda name: len(parts[name]) if "/data/" in name else 0)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, part in parts.items():
            with archive.open(name, "w", force_zip64=True) as file:
                file.write(part)
                for _ in range(1000 if name == largest else 0):
                    file.write(bytes(1_000_000))


def overlap(path: Path) -> None:
    """Names one part of the archive a thousand times, so that each byte counts as often."""
    with zipfile.ZipFile(path, "a") as archive:
        largest = max(archive.infolist(), key=lambda part: part.file_size)
        archive.filelist += [largest] * 1000
        archive._didModify = True  # type: ignore[attr-defined]


def lie(path: Path) -> None:
    """Says in the archive's list of contents that one part has 10¹² bytes."""
    with zipfile.ZipFile(path, "a") as archive:
        largest = max(archive.infolist(), key=lambda part: part.file_size)
        largest.file_size = largest.compress_size = 10**12
        archive._didModify = True  # type: ignore[attr-defined]


def holds_itself() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


def laughs() -> list[Any]:
    """10¹² values out of a hundred references."""
    values: list[Any] = [0]
    for _ in range(12):
        values = [values] * 10
    return values


def huge_pickle(path: Path) -> None:
    """A tensor of 10¹² numbers with a storage of as many, of which the file holds one."""
    torch.save({"extra": torch.zeros(1)}, path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    [pickled] = (name for name in parts if name.endswith("data.pkl"))
    one, many = b"K\x01", b"\x8a\x06" + (10**12).to_bytes(6, "little")
    assert parts[pickled].count(one) == 3  # the storage's size, the tensor's, and its stride
    parts[pickled] = parts[pickled].replace(one, many, 2)
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)


ROOM = "claims to hold more than it has room for"
CODE = "holds more than tensors and plain values"
DAMAGED = "is damaged or wasn't written by torch.save"
NO_FILE = "is not a file"

ATTACKS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "pickled code": (lambda path: with_extra(path, Touches(path.with_name("touched"))), CODE),
    "pickled code of old": (
        lambda path: with_extra(path, Touches(path.with_name("touched")), _use_new_zipfile_serialization=False),
        DAMAGED,
    ),
    "empty": (lambda path: path.write_bytes(b""), DAMAGED),
    "cut short": (lambda path: path.write_bytes(path.read_bytes()[:-100]), DAMAGED),
    "half": (lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]), DAMAGED),
    "text": (lambda path: path.write_text("class_path: hostile.Module\n"), DAMAGED),
    "another zip": (replaced_by(lambda path: zipfile.ZipFile(path, "w").close()), DAMAGED),
    "oversized": (lambda path: os.truncate(path, MOST_BYTES + 1), "no such file has more than"),
    "bomb": (bomb, ROOM),
    "overlapping parts": (overlap, ROOM),
    "a part larger than the file": (lie, ROOM),
    "a storage of terabytes": (huge_pickle, DAMAGED),
    "a tensor of terabytes": (lambda path: with_extra(path, torch.zeros(1).expand(10**12)), ROOM),
    "a tensor without numbers": (lambda path: with_extra(path, torch.empty(10**12, device="meta")), ROOM),
    "a sparse tensor": (lambda path: with_extra(path, torch.zeros(2, 2).to_sparse()), ROOM),
    "a list in itself": (lambda path: with_extra(path, holds_itself()), ROOM),
    "many lists of few": (lambda path: with_extra(path, laughs()), ROOM),
    "a list": (lambda path: torch.save([1, 2], path), ""),
    "nothing but a number": (lambda path: torch.save(7, path), ""),
    "folder": (replaced_by(Path.mkdir), NO_FILE),
    "pipe": (replaced_by(os.mkfifo), NO_FILE),
    "link to itself": (replaced_by(lambda path: path.symlink_to(path.name)), NO_FILE),
    "device": (replaced_by(lambda path: path.symlink_to("/dev/zero")), NO_FILE),
}


@contextmanager
def little_memory() -> Iterator[None]:
    """Within, this process takes no more than `MOST_MEMORY` beyond what it had."""
    if sys.platform != "linux":
        yield  # elsewhere the peak can't be set back
        return
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_memory()
    yield
    assert peak_memory() - before < MOST_MEMORY


def peak_memory() -> int:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) * 1024


def assert_refused(answer: Answer, told: str) -> None:
    code, said, complained = answer
    assert (code, said, complained.count("\n")) == (2, "", 1), answer
    assert told in complained
    assert len(complained) < 500
    assert "Traceback" not in complained


SHORT_DOORS, SHORT_ATTACKS = ("test", "GAN.load", "sample"), ("pickled code", "a tensor of terabytes", "half", "pipe")
"""All attacks on these doors and these attacks on all doors are quick; the others are left to `make test-all`."""


@pytest.mark.parametrize(
    ("door", "attack"),
    [
        pytest.param(door, attack, marks=[] if door in SHORT_DOORS or attack in SHORT_ATTACKS else pytest.mark.slow)
        for door in DOORS
        for attack in ATTACKS
    ],
)
def test_no_way_in(
    doors: dict[str, tuple[Path, Open]], tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch, door: str,
    attack: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    path, opened = doors[door]
    spoil, told = ATTACKS[attack]
    spoil(path)
    before = sorted(tmp_path.rglob("*"))
    with little_memory():
        answer = opened(path)
    assert_refused(answer, told if (door, told) != ("train_classifier", NO_FILE) else "has no best checkpoint")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("door", DOORS)
def test_the_way_in_is_open_to_good_files(doors: dict[str, tuple[Path, Open]], door: str) -> None:
    """So that what the others meet is what they bring."""
    path, opened = doors[door]
    code, _, complained = opened(path)
    if door == "train_classifier":  # which reads on, in the run's config
        assert "so the card could not say how to make these weights again" in complained
    else:
        assert (code, complained) == (0, "")


@pytest.mark.parametrize("door", [door for door in DOORS if door not in ("plot_gates", "train_classifier")])
def test_an_address_is_refused(doors: dict[str, tuple[Path, Open]], door: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/x.ckpt"
        assert_refused(doors[door][1](address), "is an address; download it yourself")  # type: ignore[arg-type]
        with pytest.raises(BlockingIOError):
            listening.accept()


def test_pickled_code_would_have_run(tmp_path: Path, runs: dict[str, Path]) -> None:
    path = runs["gan"] / "checkpoints" / "last.ckpt"
    with_extra(path, Touches(tmp_path / "touched"))
    torch.load(path, weights_only=False)
    assert (tmp_path / "touched").exists()


NAMES: list[Any] = [
    {"class_path": "hostile.Network"},
    {"class_path": "hostile.Network", "init_args": {}, "name": "DigitCNN", "arguments": {}},
    {"_class_path": "hostile.Network", "_instantiator": "hostile.instantiate"},
    {"name": "hostile.Network", "arguments": {}},
    {"name": "DigitCNN", "arguments": {"x": {"class_path": "hostile.Network"}}},
    {"name": "MLPGenerator", "arguments": {"latent_dim": 2, "widths": [1] * 2000}},
    {"name": "MLPGenerator", "arguments": {"latent_dim": [[[[[2]]]]]}},
    [{"class_path": "hostile.Network"}],
    "hostile.Network",
]
NETWORK = {
    "palindrome_lstm": "optimizer",
    "palindrome_rnn": "optimizer",
    "digit_classifier": "network",
    "gan": "generator",
}


@pytest.mark.usefixtures("unchecked", "marker")
@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_nothing_is_imported_that_a_checkpoint_names(
    doors: dict[str, tuple[Path, Open]], runs: dict[str, Path], twofold: Callable[..., Answer], name: Any
) -> None:
    for experiment, folder in runs.items():
        for path in (folder / "checkpoints").iterdir():
            content = torch.load(path, weights_only=True)
            content["hyper_parameters"] = {**content["hyper_parameters"], NETWORK[experiment]: name}
            torch.save({**content, "datamodule_hyper_parameters": name, "hparams_name": "hostile"}, path)
    for door in DOORS[3:9]:
        path, opened = doors[door]
        code, said, complained = opened(path)
        assert (code, said, complained.count("\n")) == (2, "", 1), (door, complained)
    for door in DOORS[:3]:  # which build from the config
        assert doors[door][1](doors[door][0])[0] == 0
    config = runs["palindrome_lstm"] / "config.yaml"
    code, _, complained = twofold("fit", "-c", config, "--ckpt_path", "last", "--trainer.max_steps", 2)
    assert (code, complained) == (0, "")


@pytest.mark.usefixtures("unchecked", "marker")
@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_nothing_is_imported_that_a_generator_file_names(
    doors: dict[str, tuple[Path, Open]], tmp_path: Path, name: Any, ending: str
) -> None:
    path = doors["sample"][0]
    facts = {**read_metadata(path), "network": name}
    if ending == ".pth":
        path.with_suffix(".json").write_text(json.dumps(facts))
    else:
        weights = torch.load(path, weights_only=True)
        path = tmp_path / "x.safetensors"
        write_safetensors(weights, path, "generator", facts)
    before = sorted(tmp_path.rglob("*"))
    for door in ("export", "sample", "interpolate"):
        assert_refused(doors[door][1](path), "")
    assert sorted(tmp_path.rglob("*")) == before


PARTS: list[tuple[str, Any, int, str]] = [
    ("global_step", "x", 2, "is not a checkpoint"),
    ("global_step", -1, 2, "is not a checkpoint"),
    ("pytorch-lightning_version", "x", 2, "is not a checkpoint"),
    ("state_dict", [], 2, "is not a checkpoint"),
    ("state_dict", {7: torch.zeros(1)}, 2, "is not a checkpoint"),
    ("state_dict", {}, 2, "don't fit the model of this config"),
    ("state_dict", {"readout.bias": "x"}, 2, "don't fit the model of this config"),
    ("loops", {}, 2, "is not a checkpoint"),
    ("callbacks", [], 2, "is not a checkpoint"),
    ("optimizer_states", 7, 2, "is not a checkpoint"),
    ("lr_schedulers", None, 2, "is not a checkpoint"),
    ("epoch", "x", 2, "is not a checkpoint"),
    ("seed", "x", 1, "the checkpoint holds no seed, so it isn't one of a PalindromeLSTM"),
    ("PalindromeDataModule", {"seed": "x"}, 1, "the checkpoint holds no seed for a PalindromeDataModule"),
    ("PalindromeDataModule", 7, 1, "the checkpoint holds no seed for a PalindromeDataModule"),
]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("part", "junk", "code", "told"), PARTS)
def test_junk_in_a_part_of_a_checkpoint_is_told(
    doors: dict[str, tuple[Path, Open]], tmp_path: Path, part: str, junk: Any, code: int, told: str
) -> None:
    path, opened = doors["test"]
    torch.save({**torch.load(path, weights_only=True), part: junk}, path)
    before = sorted(tmp_path.rglob("*"))
    answer = opened(path)
    assert (answer[0], answer[1], answer[2].count("\n")) == (code, "", 1), answer
    assert told in answer[2]
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.usefixtures("marker")
@pytest.mark.parametrize("cls", [PalindromeDataModule, MNISTDataModule])
def test_a_datamodule_is_not_loaded(runs: dict[str, Path], cls: type[LightningDataModule]) -> None:
    path = runs["gan"] / "checkpoints" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    names = {"_instantiator": "hostile.instantiate", "_class_path": "hostile.Module"}
    torch.save({**content, "datamodule_hyper_parameters": names}, path)
    with pytest.raises(ValueError, match=f"doesn't hold the arguments of a {cls.__name__}"):
        cls.load_from_checkpoint(path)


BIG = 30_000
"""Units whose weights among each other would take 14 GB in an LSTM."""


@pytest.mark.parametrize(
    ("experiment", "lie"),
    [
        ("palindrome_lstm", {"hidden_size": BIG}),
        ("palindrome_lstm", {"hidden_size": 10**30}),
        ("palindrome_rnn", {"hidden_size": 2 * BIG}),
        ("digit_classifier", {"network": {"name": "DigitReader", "arguments": {"hidden_size": 10**7}}}),
        ("gan", {"generator": {"name": "MLPGenerator", "arguments": {"latent_dim": 10**8}}}),
        ("gan", {"discriminator": {"name": "MLPDiscriminator", "arguments": {"widths": [BIG, BIG, BIG]}}}),
    ],
)
def test_a_checkpoint_that_lies_about_its_module_costs_no_memory(
    runs: dict[str, Path], experiment: str, lie: dict[str, Any]
) -> None:
    path = runs[experiment] / "checkpoints" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    torch.save({**content, "hyper_parameters": {**content["hyper_parameters"], **lie}}, path)
    with little_memory(), pytest.raises(ValueError, match="doesn't fit this"):
        MODULES[experiment].load_from_checkpoint(path)


TEXTS: dict[str, Callable[[Path], Any]] = {
    "deep": lambda path: path.write_text("[" * 900_000),
    "deep and whole": lambda path: path.write_text("[" * 5000 + "]" * 5000),
    "huge": lambda path: os.truncate(path, 300_000_000),
    "many widths": lambda path: path.write_text(
        json.dumps({"network": {"name": "MLPGenerator", "arguments": {"latent_dim": 2, "widths": [1] * 300_000}}})
    ),
    "a number of many digits": lambda path: path.write_text('{"network": ' + "9" * 900_000 + "}"),
    "a huge network": lambda path: path.write_text(
        path.read_text().replace('"latent_dim": 2', '"latent_dim": 1000000000')
    ),
    "no finite step": lambda path: path.write_text(path.read_text().replace('"step": 1', '"step": NaN')),
    "bytes": lambda path: path.write_bytes(b"\xff\xfe{}"),
    "folder": replaced_by(Path.mkdir),
    "pipe": replaced_by(os.mkfifo),
    "link to itself": replaced_by(lambda path: path.symlink_to(path.name)),
    "device": replaced_by(lambda path: path.symlink_to("/dev/zero")),
}


@pytest.mark.parametrize("text", TEXTS)
def test_a_generators_json_is_refused(doors: dict[str, tuple[Path, Open]], tmp_path: Path, text: str) -> None:
    path = doors["sample"][0]
    TEXTS[text](path.with_suffix(".json"))
    before = sorted(tmp_path.rglob("*"))
    with little_memory():
        for door in ("export", "sample", "interpolate"):
            assert_refused(doors[door][1](path), "")
    assert sorted(tmp_path.rglob("*")) == before


def test_expanded_weights_of_a_huge_network_are_refused(doors: dict[str, tuple[Path, Open]]) -> None:
    """Each fits the network that the `.json` tells of, and none takes room in the file."""
    path, opened = doors["sample"]
    facts = path.with_suffix(".json")
    facts.write_text(facts.read_text().replace('"latent_dim": 2', f'"latent_dim": {10**9}'))
    weights = torch.load(path, weights_only=True)
    torch.save({**weights, "layers.0.weight": torch.zeros(1, 1).expand(3, 10**9)}, path)
    with little_memory():
        assert_refused(opened(path), ROOM)


SAFETENSORS: dict[str, Callable[[Path], Any]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "text of terabytes": lambda path: path.write_bytes((10**12).to_bytes(8, "little") + path.read_bytes()[8:]),
    "much text": lambda path: path.write_bytes((2 * MOST_TEXT).to_bytes(8, "little") + b" " * 2 * MOST_TEXT),
    "tensor of terabytes": lambda path: path.write_bytes(
        (text := b'{"a": {"dtype": "F32", "shape": [1000000000000], "data_offsets": [0, 4000000000000]}}')
        and struct.pack("<Q", len(text)) + text + bytes(4)
    ),
    "oversized": lambda path: os.truncate(path, MOST_BYTES + 1),
    "folder": replaced_by(Path.mkdir),
    "pipe": replaced_by(os.mkfifo),
    "link to itself": replaced_by(lambda path: path.symlink_to(path.name)),
    "device": replaced_by(lambda path: path.symlink_to("/dev/zero")),
}


@pytest.mark.parametrize("attack", SAFETENSORS)
def test_safetensors_and_judges_are_refused(
    doors: dict[str, tuple[Path, Open]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attack: str
) -> None:
    path = tmp_path / "digit_cnn.safetensors"
    write_safetensors(DigitCNN().state_dict(), path, "classifier", {"network": to_spec(DigitCNN())})
    monkeypatch.setattr(features, "FOLDER", tmp_path)
    load_classifier()
    SAFETENSORS[attack](path)
    before = sorted(tmp_path.rglob("*"))
    with little_memory():
        for door in ("export", "sample", "interpolate"):
            assert_refused(doors[door][1](path), "digit_cnn.safetensors")
        with pytest.raises(ValueError, match=r"digit_cnn\.safetensors is (damaged|missing)"):
            load_classifier()
    assert sorted(tmp_path.rglob("*")) == before


def test_text_in_safetensors_of_many_widths_is_refused(doors: dict[str, tuple[Path, Open]], tmp_path: Path) -> None:
    network = {"name": "MLPGenerator", "arguments": {"latent_dim": 2, "widths": [1] * 100_000}}
    path = tmp_path / "x.safetensors"
    save_file({}, path, metadata={"generator": json.dumps({"network": network})})
    with little_memory():
        assert_refused(doors["export"][1](path), "doesn't describe its network")


@pytest.mark.usefixtures("marker")
@pytest.mark.parametrize("attack", [name for name, (_, told) in ATTACKS.items() if told != NO_FILE])
def test_a_run_passes_hostile_checkpoints_over(
    runs: dict[str, Path], twofold: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch, attack: str
) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    folder = runs["palindrome_lstm"]
    newest = folder / "checkpoints" / "step=000002.ckpt"
    shutil.copyfile(newest.with_name("step=000001.ckpt"), newest)
    ATTACKS[attack][0](newest)
    resume = ("fit", "-c", folder / "config.yaml", "--ckpt_path", "last", "--trainer.max_steps", 2)
    with little_memory():
        code, _, complained = twofold(*resume)
    assert (code, complained.count("\n")) == (0, 1)
    assert "step=000002.ckpt" in complained
    assert complained.endswith("; passed over\n")
    assert torch.load(newest, weights_only=True)["global_step"] == 2


@pytest.mark.parametrize(
    "content", ["[" * 900_000, '{"id": 7}', '{"id": "x", "step": "many"}', '{"id": "x", "step": null}', "", "7"]
)
def test_a_hostile_run_json_makes_no_run(runs: dict[str, Path], twofold: Callable[..., Answer], content: str) -> None:
    folder = runs["palindrome_lstm"]
    (folder / "run.json").write_text(content)
    code, said, complained = twofold("runs")
    assert (code, complained) == (0, "")
    assert "palindrome_rnn" in said
    assert_refused(
        twofold("test", "-c", folder / "config.yaml", "--ckpt_path", "last"), "is missing or damaged; put it back"
    )


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_a_run_json_that_is_no_file_makes_no_run(
    runs: dict[str, Path], twofold: Callable[..., Answer], make: Callable[[Path], Any]
) -> None:
    replaced_by(make)(runs["palindrome_lstm"] / "run.json")
    code, said, complained = twofold("runs")
    assert (code, complained) == (0, "")
    assert "palindrome_rnn" in said


def test_an_unreadable_file_is_told_as_such(
    doors: dict[str, tuple[Path, Open]], monkeypatch: pytest.MonkeyPatch
) -> None:
    opening = Path.open

    def refuse(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.suffix in (".ckpt", ".pth"):
            raise PermissionError(13, "Permission denied")
        return opening(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)  # a mode wouldn't stop the superuser
    for door in DOORS:
        path, opened = doors[door]
        assert_refused(opened(path), "can't be read (Permission denied)")
