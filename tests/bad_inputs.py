"""Mistakes on the command line and in configs, and a part of the message that each of them gets."""

from pathlib import Path

CONFIGS = Path(__file__).parents[1] / "configs"
LSTM, RNN, LONG = (str(CONFIGS / f"palindrome_{name}.yaml") for name in ("lstm", "rnn", "long"))
FLIP_FLOP, INDUCTION, PARITY, RECALL = (
    str(CONFIGS / f"{name}.yaml") for name in ("flip_flop", "induction", "parity", "recall")
)
GAN, DCGAN, HINGE, WGAN, CLASSIFIER = (
    str(CONFIGS / f"{name}.yaml") for name in ("gan", "dcgan", "hinge_sn", "wgan_gp", "digit_classifier")
)


TWOFOLD = [
    # The command line.
    ("frobnicate", "'frobnicate' is not a command; write one of fit, validate, test, predict, runs"),
    ("runs now", "unrecognized arguments: now"),
    ("fit", "--data and --model missing; add what is missing, or start from a shipped config, such as -c gan"),
    ("fit -c", "-c/--config: expected one argument"),
    (f"fit {LSTM}", f"'{LSTM}' is no option; write -c {LSTM}"),
    (f"fit --conf {LSTM}", "there is no setting --conf here; did you mean --config?"),
    (f"fit -c {LSTM} --trainer.max_stepz 3", "no setting --trainer.max_stepz here; did you mean --trainer.max_steps?"),
    (f"fit -c {GAN} --data.root Gr\udcf6", "isn't text in the locale's encoding; set PYTHONUTF8=1, or write ASCII"),
    (f"fit -c {LSTM} --xyzzy 3", "no setting --xyzzy here; --print_config shows the existing settings"),
    (f"fit -c {GAN} --data.length 20", "no setting --data.length here; --print_config shows"),
    (f"fit -c {LSTM} --model.optimizer.lrr 3", "no setting --model.optimizer.lrr here"),
    (f"predict -c {LSTM} --ckpt_pth last", "there is no setting --ckpt_pth here; did you mean --ckpt_path?"),
    # Config files.
    ("fit -c nowhere.yaml", "there is no config file"),
    (f"fit -c {LSTM} --model.lr_scheduler LinearLR --trainer.max_steps -1", "lr_scheduler.total_iters is missing"),
    (f"fit -c {GAN} --trainer.callbacks.steps 9", "the last callback has no setting --trainer"),
    ("fit -c .", "there is no config file"),
    ("fit -c torn.yaml", "the config is not YAML, see line 2, column 4"),
    ("fit -c code.yaml", "line 1, column 4: could not determine a constructor for the tag"),
    ("fit -c latin.yaml", "the config isn't UTF-8 text; -c takes a YAML file, --ckpt_path a checkpoint"),
    ("fit -c empty.yaml", "the config holds no settings; start from a shipped one, such as -c gan"),
    (f"fit -c {CONFIGS}/base.yaml", "--data and --model missing"),
    ("fit -c umlaut.yaml", "experiment 'größe' names the folder of the runs; write letters"),
    ("fit -c modle.yaml", "here; did you mean --model?"),
    (f"fit -c {LSTM} --modle.hidden_size 3", "no setting --modle.hidden_size here; did you mean --model?"),
    (f"fit -c {LSTM} --trainer.xyzzy 3", "no setting --trainer.xyzzy here; --print_config shows"),
    ("fit -c hiden.yaml", "there is no setting --model.hiden_size here; did you mean --model.hidden_size?"),
    ("fit -c unknown_class.yaml", "has no attribute 'PalindromLSTM'"),
    # Classes without an argument that they require.
    (f"fit -c {LSTM} --trainer.callbacks+=EarlyStopping", "EarlyStopping needs monitor; write --trainer.callbacks.mo"),
    ("fit -c second_of_three.yaml", "twofold: EarlyStopping needs monitor; write --trainer.callbacks.monitor or, in a"),
    (f"fit -c {LSTM} --trainer.logger lightning.pytorch.loggers.CSVLogger", "CSVLogger needs save_dir"),
    (
        f"fit -c {LSTM} --trainer.logger CSVLogger",
        "--trainer.logger: Multiple subclasses with name CSVLogger. Give the full class path to avoid ambiguity: ",
    ),
    (f"fit -c {LSTM} --model.lr_scheduler StepLR", "StepLR needs step_size; write --model.lr_scheduler.step_size or"),
    (f"fit -c {GAN} --model.generator_lr_scheduler CyclicLR", "CyclicLR needs base_lr and max_lr"),
    (f"fit -c {GAN} --model.generator_optimizer classes.Optimizer", "Optimizer needs size; write --model.generator_o"),
    (f"fit -c {GAN} --model.discriminator classes.Network", "Network needs width and depth; write --model.discriminat"),
    # Classes that can't be imported.
    (f"fit -c {GAN} --model.discriminator classes.Netwrok", "attribute 'Netwrok'; did you mean Network?"),
    (f"fit -c {LSTM} --model.optimizer torch.optim.Adm", "module 'torch.optim' has no attribute 'Adm'; did you mean"),
    (
        f"fit -c {LSTM} --model.optimizer nowhere.Adam",
        "'nowhere'; start the command in the folder that holds nowhere.py",
    ),
    (f"fit -c {GAN} --model.discriminator classes.py", "can't be classes.py; write a class with its module, such as"),
    (f"fit -c {GAN} --model.discriminator broken/syntax.D", "can't be broken/syntax.D; write a class with its module"),
    (f"fit -c {GAN} --model.discriminator broken.syntax.D", "discriminator: '(' was never closed (syntax.py, line 2)"),
    (f"fit -c {GAN} --model.discriminator broken.lacks.D", "broken/lacks.py, line 1: ModuleNotFoundError: No module"),
    (f"fit -c {GAN} --model.discriminator broken.through.D", "broken/lacks.py, line 1: ModuleNotFoundError: No modu"),
    (f"fit -c {GAN} --model.discriminator broken.init.D", "broken/init.py, line 4: KeyError: 'nothing'"),
    # Values of the wrong type.
    (f"fit -c {LSTM} --trainer.max_steps abc", "--trainer.max_steps can't be abc; write a whole number"),
    *(
        (f"fit -c {LSTM} --threads={each}", f"--threads can't be {each}; write a")
        for each in (0, -1, 1.5, "many", 2000)
    ),
    (f"fit -c {LSTM} --data.target frst", "--data.target can't be frst; write last or second_half"),
    (f"fit -c {LSTM} --model.optimizer.lr abc", "--model.optimizer.lr can't be abc; write a number"),
    (f"fit -c {LSTM} --trainer.logger callbacks.ImageGrid", "--trainer.logger: Import path does not correspond"),
    (f"fit -c {GAN} --model.generator_optimizer LBFGS --data.source packaged", "LBFGS computes the loss several times"),
    (f"fit -c {LSTM} --model.optimizer.lr null", "twofold: --model.optimizer.lr can't be None; write a number\n"),
    (f"fit -c {LSTM} --data.test_lengths 5", "--data.test_lengths can't be 5; write a list in brackets"),
    (f"fit -c {LSTM} --trainer.max_steps", "twofold: argument --trainer.max_steps: expected one argument\n"),
    (f"fit -c {LSTM} --trainer.devices abc", "twofold: `devices` selected with"),
    *(
        (f"fit -c {FLIP_FLOP} --{name} 8", f"no setting --{name.rpartition(' --')[2]} here; {instead}")
        for name, instead in (
            ("max_steps", "did you mean --trainer.max_steps?"),
            ("save_top_k", "did you mean --checkpoint.save_top_k?"),
            ("length", "did you mean --data.length?"),
            ("network.hidden_size", "did you mean --model.network.hidden_size?"),
            ("tokens", "--print_config shows"),
            ("data.tokens", "--print_config shows"),
            ("data.keys", "--print_config shows"),
            ("data.cases", "--print_config shows"),
            ("data.lenght", "did you mean --data.length?"),
            ("data.batchsize", "did you mean --data.batch_size?"),
            ("model.network.hiden_size", "did you mean --model.network.hidden_size?"),
            ("model.network Transformer --model.network.head", "did you mean --model.network.heads?"),
            ("model.network Transformer --model.network.posititions", "did you mean --model.network.positions?"),
            ("model.network S6 --model.network.state_sise", "did you mean --model.network.state_size?"),
            ("model.optimizer.lrr", "did you mean --model.optimizer.lr?"),
            (
                "trainer.callbacks+=LengthCurriculum --trainer.callbacks.strat",
                "did you mean --trainer.callbacks.start?",
            ),
        )
    ),
    # Values out of range.
    (f"fit -c {GAN} --trainer.max_steps 0", "--trainer.max_steps can't be 0; write 1 or more, or -1 for no limit"),
    *(
        (f"fit -c {LSTM} --model.lr_scheduler {name} --model.lr_scheduler.{value}", message)
        for name, value, message in (
            ("CosineAnnealingLR", "eta_min -1", "--model.lr_scheduler.eta_min can't be -1.0; write 0 or more"),
            ("OneCycleLR", "max_lr -1", "--model.lr_scheduler.max_lr can't be -1.0; write 0 or more"),
            ("StepLR", "step_size 0", "--model.lr_scheduler.step_size can't be 0; write 1 or more"),
            ("LinearLR", "total_iters -1", "--model.lr_scheduler.total_iters can't be -1; write 1 or more"),
        )
    ),
    (f"fit -c {LSTM} --model.optimizer.lr -1", "Invalid learning rate: -1.0"),
    (f"fit -c {LSTM} --model.optimizer.betas [0.9,1.5]", "Invalid beta parameter at index 1: 1.5"),
    (f"fit -c {LSTM} --trainer.gradient_clip_val -1", "--trainer.gradient_clip_val can't be -1; write a positive"),
    (f"fit -c {LSTM} --trainer.accumulate_grad_batches 2", "can't be 2; write a larger --data.batch_size"),
    (f"fit -c {LSTM} --seed_everything -5", "can't be -5; write a whole number from 0 to 4294967295"),
    (f"fit -c {LSTM} --trainer.precision 7", "can't be 7; write 32-true, 64-true, bf16-mixed or 16"),
    (f"fit -c {LSTM} --trainer.devices 999", "--trainer.devices can't be 999; write at most "),
    (f"fit -c {LSTM} --trainer.accelerator cpu --trainer.precision 16-mixed", "16-mixed needs a GPU; write bf16-mixed"),
    (f"fit -c {LSTM} --trainer.num_nodes 2", "start them by torchrun or srun"),
    (f"fit -c {LSTM} --checkpoint.save_top_k 0", "save_top_k is 0; write 1 or more"),
    (f"fit -c {LSTM} --checkpoint.monitor val/nothing", "checkpoint.monitor is 'val/nothing', which isn't logged"),
    # Settings of the data, the models and the callbacks.
    (
        f"fit -c {LSTM} --model.lr_scheduler lightning.pytorch.cli.ReduceLROnPlateau "
        "--model.lr_scheduler.monitor val/loss",
        "schedulers step with every batch, so none can be ReduceLROnPlateau",
    ),
    (f"fit -c {LSTM} --data.test_lengths []", "test_lengths is []; write one length or more, each once"),
    (f"fit -c {LSTM} --model.init forget_lug", "--model.init can't be forget_lug; write torch or forget_one or"),
    (f"fit -c {LSTM} --model.horizon 5", "--model.horizon follows from the data; write --data.length"),
    (f"fit -c {RNN} --model.init chrono", "--model.init can't be chrono; write torch or orthogonal or identity"),
    (f"fit -c {RNN} --model.init latch --model.nonlinearity relu", "init 'latch' is for tanh, not for relu; write"),
    *(
        (f"fit -c {RNN} --model.init latch --model.{name}={value}", f"{name} is {shown}; write a finite number")
        for name in ("gain", "input_scale")
        for value, shown in ((".nan", "nan"), (".inf", "inf"), ("-.inf", "-inf"), ("1e39", "1e+39"))
    ),
    *(
        (f"fit -c {PARITY} --model.network LRU --model.network.{option}", "write 0 ≤ r_min < r_max ≤ 1 and a max_phase")
        for option in ("max_phase .inf", "max_phase .nan", "max_phase 7", "r_min .nan", "r_max .inf")
    ),
    (f"fit -c {LONG} --data.length 4", "LengthCurriculum's start is 5; write a length from 2 to 4"),
    *(
        (f"fit -c {config} --trainer.callbacks+=LengthCurriculum {options}", f"write a length from {least} to {most}")
        for config, least, most in ((LSTM, 2, 20), (FLIP_FLOP, 4, 32), (PARITY, 1, 40), (RECALL, 12, 16))
        for options in ("--trainer.callbacks.start 0", "--trainer.callbacks.start 41")
    ),
    (f"fit -c {RECALL} --trainer.callbacks+=LengthCurriculum", "start is 5; write a length from 12 to 16"),
    (f"fit -c {INDUCTION} --data.tokens 0", "tokens is 0; write 2 or more"),
    (f"fit -c {RECALL} --data.keys 0", "keys is 0 and values 8; write 3 or more"),
    *(
        (f"fit -c {GAN} --model.discriminator.{option}", "write finite numbers, and a std above 0")
        for option in ("std 0", "std .nan", "mean .inf")
    ),
    (f"fit -c {GAN} --model.r1 null", "--model.r1 can't be null; write a value such as 0.0"),
    (f"fit -c {GAN} --data.image_shape null", "--data.image_shape can't be null; write a value such as [1, 28, 28]"),
    (f"fit -c {GAN} --trainer.callbacks.final_samples null", "GenerativeMetrics.final_samples can't be null; write"),
    (f"fit -c {LSTM} --data.length null", "PalindromeDataModule needs length; write --data.length"),
    (f"fit -c {GAN} --model.ema_decay 3", "ema_decay is 3.0; write a number between 0 and 1"),
    (f"fit -c {GAN} --data.source packaged --data.batch_size 10000000", "there are 3,500 training images"),
    (f"fit -c {GAN} --data.source packaged --data.batch_size 1", "Expected more than 1 value per channel"),
    (f"fit -c {GAN} --trainer.gradient_clip_val 1 --data.source packaged", "gradient clipping is not supported"),
    (f"fit -c {DCGAN} --model.r1 1", "the discriminator's BatchNorm mixes the images"),
    (f"fit -c {HINGE} --model.n_critic 0", "n_critic is 0; write 1 or more"),
    (f"fit -c {WGAN} --model.gradient_penalty 0", "the wasserstein loss is unbounded"),
    (f"fit -c {LSTM} --trainer.val_check_interval 0", "val_check_interval can't be 0; write a number above 0"),
    (
        f"fit -c {LSTM} --trainer.log_every_n_steps=-1",
        "log_every_n_steps can't be -1; write a positive number, or 0 to log",
    ),
    (f"fit -c {LSTM} --trainer.limit_train_batches 0", "--trainer.limit_train_batches can't be 0"),
    (
        f"fit -c {CLASSIFIER} --model.network networks.mlp_gan.MLPDiscriminator",
        "for 2 images MLPDiscriminator returns (2,); return 10 logits",
    ),
    (
        f"fit -c {LSTM} --data MNISTDataModule",
        "the model needs sequences, but --data has no length; write --data Pal",
    ),
    (f"fit -c {FLIP_FLOP} --data MNISTDataModule", "the model needs sequences, but --data has no length; write --d"),
    # Sequence tasks and their networks.
    (f"fit -c {FLIP_FLOP} --data RecallDataModule", "32 symbols and LSTM reads 5; write --model.network.input_size 32"),
    (f"fit -c {PARITY} --data SequenceDataModule", "--data can't be SequenceDataModule, which is abstract"),
    (f"fit -c {PARITY} --data classes.Task --data.length 9", "--data can't be classes.Task, which is abstract; write"),
    (f"fit -c {RECALL} --data MNISTDataModule --data.source packaged", "sequences are two int64 tensors (steps, batc"),
    (f"fit -c {PARITY} --model.network Transformer --model.network.heads 5", "hidden_size is 64; write a multiple of"),
    (f"fit -c {PARITY} --model.network classes.Plain", "doesn't map x and a state to an out"),
    (f"fit -c {PARITY} --compile true", "compiling LSTM gains nothing; leave compile out"),
    (f"fit -c {RECALL} --data.length 11", "length is 11, too short for this task; write 12 or more"),
    *(
        (
            f"fit -c {FLIP_FLOP} --{option}",
            f"--{option.rpartition(' ')[0]}: there is no class {name}; did you mean {ours}?",
        )
        for option, name, ours in (
            ("model.network minGRU", "minGRU", "MinGRU"),
            ("model.network gru", "gru", "GRU"),
            ("model.network transformers", "transformers", "Transformer"),
            ("model.optimizer adam", "adam", "Adam"),
            ("model.lr_scheduler linearlr", "linearlr", "LinearLR"),
            ("data recall", "recall", "RecallDataModule"),
            ("model sequence_model", "sequence_model", "SequenceModel"),
        )
    ),
    (f"fit -c {FLIP_FLOP} -c gru.yaml", "--model.network: there is no class gru; did you mean GRU?"),
    (f"fit -c {FLIP_FLOP} --model.network Mamba", "--model.network can't be Mamba; write a class with its module"),
    (f"fit -c {FLIP_FLOP} --model.network networks.GRU", "module 'networks' has no attribute 'GRU'; did you mean GRU?"),
    (
        f"fit -c {FLIP_FLOP} --model.network GRU --model.network.init forget_log",
        "can't be forget_log; write torch or up",
    ),
    *(
        (
            f"fit -c {FLIP_FLOP} --model.network.horizon{sign}9",
            "--model.network.horizon follows from the data; write --d",
        )
        for sign in " ="
    ),
    (
        f"fit -c {CLASSIFIER} --data ParityDataModule --data.length 9",
        "a batch is two tensors, (input, target); this is",
    ),
    # Checkpoints.
    (f"fit -c {LSTM} --ckpt_path last --trainer.fast_dev_run true", "fast_dev_run starts from fresh weights"),
    (f"fit -c {LSTM} --ckpt_path last", "--ckpt_path last needs a run's own config"),
    *(
        (f"{command} -c {LSTM}", f"{command} needs trained weights: add --ckpt_path last, best or a file")
        for command in ("validate", "test", "predict")
    ),
    (f"test -c {LSTM} --ckpt_path weights.ckpt", "--ckpt_path: weights.ckpt is not a file"),
    (f"test -c {LSTM} --ckpt_path text.yaml", "text.yaml is damaged"),
    (f"test -c {LSTM} --ckpt_path http://127.0.0.1:9/x.ckpt", "is a URL; download the file"),
]


SCRIPTS = [
    ("export nowhere.pth --safe x.safetensors", "there is no option --safe here; did you mean --safetensors?"),
    ("sample", "the following arguments are required: generator, --out"),
    ("sample nowhere.pth --out x.png --sed 3", "there is no option --sed here; did you mean --seed?"),
    ("train_classifier digit_reader --uot x", "there is no option --uot here; did you mean --out?"),
    ("plot_gates nowhere.ckpt", "nowhere.ckpt is not a file"),
    ("demo --fast", "there is no option --fast here"),
    ("report --only grid", "--only grid is not a figure; write one of curves_T5, curves_T20, horizon"),
    ("explore nowhere", "nowhere is not a folder; write the folder that holds your runs, such as runs"),
    ("explore --port 65536", "--port: can't be 65536; write a whole number, 0 to 65535"),
    ("sweep nowhere.yaml", "can't read the sweep file nowhere.yaml: nowhere.yaml: No such file or directory"),
    ("sweep umlaut.yaml", "can't read the sweep file umlaut.yaml: it lacks command; see configs/sweeps/gan.yaml"),
    ("sweep s.yaml --trials 0", "--trials: can't be 0; write a whole number, 1 or more"),
    ("speed --peer nowhere", "--peer nowhere is no checkout of PyTorch-GAN with commit 36d3c77"),
    ("speed gna", "there is no benchmark gna here; write gan, overhead, start"),
    ("gan --recipes gna", "argument --recipes: invalid choice: 'gna'"),
    ("crash_resume --experiments gna", "argument --experiments: invalid choice: 'gna'"),
]


THREE_CALLBACKS = """trainer:
  callbacks:
  - {class_path: lightning.pytorch.callbacks.ModelCheckpoint, init_args: {monitor: null}}
  - class_path: EarlyStopping
  - class_path: LearningRateMonitor"""
CODE = {
    "classes.py": """\
import torch
import datamodules

class Network(torch.nn.Module):
    def __init__(self, width: int, depth: int) -> None: ...

class Plain(torch.nn.Module):
    input_size = hidden_size = 2
    def forward(self, x): ...

class Task(datamodules.SequenceDataModule):
    symbol_names = ("0", "1")
    def draw(self, random, rows, length, case=""): ...

class Optimizer(torch.optim.SGD):
    def __init__(self, params, size: float) -> None: ...
""",
    "broken/syntax.py": "import torch\nclass D(\n",
    "broken/lacks.py": "import nowhere\n",
    "broken/through.py": "from broken.lacks import D\n",
    "broken/init.py": "import torch\nclass D(torch.nn.Module):\n    def __init__(self):\n        {}['nothing']\n",
}
"""A user's own modules, in the current folder."""


def write_bad_files(folder: Path) -> None:
    """The files that the commands above name, except `nowhere`."""
    text = Path(LSTM).read_text()
    contents = {
        "torn": "model: [1, 2\nfoo: 3\n",
        "empty": "",
        "modle": text.replace("model:", "modle:"),
        "hiden": text.replace("hidden_size", "hiden_size"),
        "second_of_three": text.replace("trainer:", THREE_CALLBACKS),
        "unknown_class": text.replace("PalindromeLSTM", "PalindromLSTM"),
        "tab": text.replace("    hidden_size", "\thidden_size"),
        "text": "just some words\n",
        "code": "a: !!python/object/apply:os.system [touch owned]\n",
        "gru": "model: {init_args: {network: {class_path: gru}}}\n",
        "umlaut": text.replace("palindrome_lstm", "größe"),
    }
    for name, content in contents.items():
        (folder / f"{name}.yaml").write_text(content)
    (folder / "latin.yaml").write_bytes("experiment: größe\n".encode("latin-1"))


def write_code(folder: Path) -> None:
    """The modules of `CODE`."""
    (folder / "broken").mkdir()
    for name, content in CODE.items():
        (folder / name).write_text(content)
