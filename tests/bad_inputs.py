"""What people write wrong, and what they are told: every command, every script, every config.

Each is one line on stderr and exit code 2, and nothing is left behind. Scripts that read a generator or a checkpoint
have longer tables of their own beside the tests of what they do.
"""

import os
from pathlib import Path

CONFIGS = Path(__file__).parents[1] / "configs"
LSTM, RNN, LONG, RECALL = (str(CONFIGS / f"palindrome_{name}.yaml") for name in ("lstm", "rnn", "long", "recall"))
GAN, TEMPLATE, DCGAN, HINGE, WGAN, CLASSIFIER, READER = (
    str(CONFIGS / f"{name}.yaml")
    for name in ("gan", "gan_template", "dcgan", "hinge_sn", "wgan_gp", "digit_classifier", "digit_reader")
)


TWOFOLD = [
    ("frobnicate", "'frobnicate' is not a command; write one of fit, validate, test, predict, runs"),
    ("runs now", "takes no arguments, but got 'now'"),
    ("fit", "which experiment? write: twofold fit -c configs/palindrome_lstm.yaml"),
    ("test --ckpt_path last", "which experiment? write: twofold test -c configs/palindrome_lstm.yaml"),
    ("fit -c", "-c/--config: expected one argument"),
    ("fit -c nowhere.yaml", "there is no config file"),
    ("fit -c .", "there is no config file"),
    ("fit -c torn.yaml", "the config is not YAML, see line 2, column 4"),
    ("fit -c empty.yaml", "the config says no model or data; start from one of configs/"),
    (f"fit -c {CONFIGS}/base.yaml", "the config says no model or data; start from one of configs/"),
    ("fit -c unfiled.yaml", "lacks the key experiment"),
    ("fit -c modle.yaml", "there is no setting --modle here; did you mean --model?"),
    ("fit -c hiden.yaml", "there is no setting --model.hiden_size here; did you mean --model.hidden_size?"),
    ("fit -c unknown_class.yaml", "has no attribute 'PalindromLSTM'"),
    (f"fit -c {LSTM} --trainer.max_stepz 3", "no setting --trainer.max_stepz here; did you mean --trainer.max_steps?"),
    (f"fit -c {LSTM} --data.lenght 3", "no setting --data.lenght here; did you mean --data.length?"),
    (f"fit -c {LSTM} --xyzzy 3", "no setting --xyzzy here; --print_config shows the settings there are"),
    (f"fit -c {GAN} --data.length 20", "no setting --data.length here; --print_config shows"),
    (f"fit -c {LSTM} --model.optimizer.lrr 3", "no setting --model.optimizer.lrr here"),
    (f"fit -c {LSTM} --trainer.max_steps abc", "--trainer.max_steps can't be abc; write a whole number"),
    (f"fit -c {LSTM} --trainer.max_steps -7", "max_steps"),
    (f"fit -c {LSTM} --data.length abc", "--data.length can't be abc; write a whole number"),
    (f"fit -c {LSTM} --data.length 1", "length is 1; write 2 or more"),
    (f"fit -c {RNN} --data.length 1", "length is 1; write 2 or more"),
    (f"fit -c {LSTM} --data.target frst", "--data.target can't be frst; write last or second_half"),
    (f"fit -c {LSTM} --model.init forget_lug", "write one of torch, forget_one, forget_log, chrono"),
    (f"fit -c {LSTM} --model.optimizer.lr abc", "--model.optimizer.lr can't be abc; write a number"),
    (f"fit -c {LSTM} --model.optimizer SGDD", "--model.optimizer can't be SGDD; write a class with its module"),
    (f"fit -c {LSTM} --model Foo", "--model can't be Foo; write a class with its module"),
    (f"fit -c {LSTM} --model nowhere.Foo", "No module named 'nowhere'"),
    (f"fit -c {LSTM} --trainer.callbacks+=Foo", "--trainer.callbacks can't be Foo; write a class with its module"),
    (f"fit -c {LSTM} --trainer.accelerator foo", "accelerator='foo'"),
    (
        f"fit -c {LSTM} --ckpt_path last --trainer.fast_dev_run true",
        "fast_dev_run tries the code out from fresh weights; leave --ckpt_path out",
    ),
    (f"fit -c {LSTM} --seed_everything false", "--seed_everything can't be False; write a whole number"),
    (f"fit -c {LSTM} --seed_everything -5", "--seed_everything can't be -5; write a whole number from 0 to 4294967295"),
    (f"fit -c {LSTM} --experiment ../up", "experiment '../up' names a folder; write letters"),
    (f"fit -c {LSTM} --checkpoint.save_top_k 0", "save_top_k is 0; write 1 or more"),
    (
        f"fit -c {LSTM} --trainer.callbacks+=callbacks.LengthCurriculum --trainer.callbacks.strt 3",
        "no setting --trainer.callbacks.strt here; did you mean --trainer.callbacks.start?",
    ),
    (
        f"fit -c {LSTM} --trainer.callbacks+=callbacks.LengthCurriculum --trainer.callbacks.start 50",
        "the curriculum starts at length 50, above its target 20",
    ),
    (
        f"fit -c {LSTM} --trainer.callbacks+=callbacks.LengthCurriculum --trainer.callbacks.start 30",
        "the curriculum starts at length 30, above its target 20",
    ),
    (
        f"fit -c {LSTM} --trainer.callbacks+=callbacks.LengthCurriculum --trainer.callbacks.factor 1",
        "the curriculum's factor is 1.0; write a number above 1",
    ),
    (
        f"fit -c {LSTM} --trainer.callbacks+=callbacks.LengthCurriculum --trainer.callbacks.patience 0",
        "the curriculum's patience is 0; write 1 or more",
    ),
    (
        f"fit -c {LSTM} --trainer.callbacks+=callbacks.StopWhenSolved --trainer.callbacks.perfect_batches 0",
        "perfect_batches is 0; write 1 or more",
    ),
    (f"fit -c {LSTM} --data.batch_size 0", "batch_size is 0; write a positive number"),
    (f"fit -c {LSTM} --model.hidden_size 0", "hidden_size is 0; write 1 or more"),
    (f"fit -c {RNN} --model.hidden_size 0", "hidden_size is 0; write 1 or more"),
    (
        f"fit -c {LSTM} --model.init orthogonal",
        "init 'orthogonal' is for the RNN; for the LSTM write one of torch, for",
    ),
    (f"fit -c {RNN} --model.init chrono", "init 'chrono' is for the LSTM; for the RNN write one of torch, orthogonal"),
    (
        f"fit -c {RNN} --model.init nothing",
        "init 'nothing' isn't known; for the RNN write one of torch, orthogonal, ide",
    ),
    (f"fit -c {LSTM} --data.target all", "--data.target can't be all; write last or second_half"),
    (f"fit -c {LSTM} --data.test_size 0", "test_size is 0; write a positive number"),
    (f"fit -c {LSTM} --data.test_lengths [5,1]", "a length in test_lengths is 1; write 2 or more"),
    (f"fit -c {LSTM} --data.test_lengths []", "test_lengths is empty; write at least one length"),
    (f"fit -c {RECALL} --data.test_lengths [5]", "test_lengths are for the last digit of fresh palindromes"),
    (f"fit -c {GAN} --model.ema_decay 3", "ema_decay is 3.0; write a number between 0 and 1"),
    (f"fit -c {GAN} --model.matmul_precision low", "matmul_precision is 'low'; write one of highest, high, medium"),
    (f"fit -c {GAN} --data.source torchvision --data.root /dev/null/x", "choose another root"),
    (f"fit -c {LSTM} --ckpt_path last", "--ckpt_path last goes with a run's own config"),
    (f"fit -c {LSTM} --ckpt_path weights.ckpt", "fit goes on with a whole run, not with weights.ckpt"),
    *(
        (f"{command} -c {LSTM}", f"{command} needs trained weights: add --ckpt_path last, best or a file")
        for command in ("validate", "test", "predict")
    ),
    (f"test -c {LSTM} --ckpt_path last", "--ckpt_path last goes with a run's own config"),
    (f"test -c {LSTM} --ckpt_path weights.ckpt", "weights.ckpt is not a file; write last, best or a checkpoint's path"),
    (f"fit -c {LSTM} --trainer.max_step 3", "no setting --trainer.max_step here; did you mean --trainer.max_steps?"),
    (f"fit -c {LSTM} --checkpoint.monitr x", "no setting --checkpoint.monitr here; did you mean --checkpoint.monitor?"),
    (f"fit -c {LSTM} --seed 3", "no setting --seed here"),
    (f"fit -c {LSTM} --exp mine", "no setting --exp here"),
    (f"fit -c {LSTM} --ckpt last", "no setting --ckpt here"),
    (f"fit --conf {LSTM}", "which experiment? write: twofold fit -c"),
    (f"fit {LSTM}", "which experiment? write: twofold fit -c"),
    (f"fit -c {LSTM} surplus", "there is no setting --surplus here"),
    ("Fit -c x.yaml", "'Fit' is not a command; write one of fit, validate, test, predict, runs"),
    ("runs --all", "takes no arguments, but got '--all'"),
    # Config files.
    ("fit -c tab.yaml", "the config is not YAML, see line 6, column 1: while scanning for the next token"),
    ("fit -c list.yaml", "list.yaml holds no settings; start from one of configs/"),
    ("fit -c text.yaml", "text.yaml holds no settings; start from one of configs/"),
    ("fit -c latin.yaml", "latin.yaml is not text in UTF-8, see byte 14"),
    ("fit -c code.yaml", "line 1, column 4: could not determine a constructor for the tag"),
    ("fit -c umlaut.yaml", "experiment 'größe' names a folder; write letters"),
    ("fit -c http://127.0.0.1:9/x.yaml", "'http://127.0.0.1:9/x.yaml'"),
    ("test -c nowhere.yaml --ckpt_path last", "there is no config file"),
    # Numbers.
    (f"fit -c {LSTM} --model.optimizer.lr -1", "--model.optimizer.lr can't be -1.0; write 0 or more"),
    (f"fit -c {LSTM} --model.optimizer.lr .nan", "--model.optimizer.lr can't be nan; write a finite number"),
    (f"fit -c {LSTM} --model.optimizer.lr .inf", "--model.optimizer.lr can't be inf; write a finite number"),
    (f"fit -c {LSTM} --model.optimizer.lr=-.inf", "--model.optimizer.lr can't be -inf; write a finite number"),
    (f"fit -c {LSTM} --model.optimizer.lr nan", "--model.optimizer.lr can't be nan; write a number"),
    (f"fit -c {LSTM} --model.optimizer.betas [0.9,1.5]", "--model.optimizer.betas can't be [0.9, 1.5]; write two num"),
    (f"fit -c {LSTM} --model.optimizer.betas [0.9]", "--model.optimizer.betas can't be [0.9]; write"),
    (f"fit -c {LSTM} --model.optimizer.betas 0.9", "--model.optimizer.betas can't be 0.9; write a list in brackets"),
    (f"fit -c {LSTM} --model.optimizer.eps -1", "--model.optimizer.eps can't be -1.0; write 0 or more"),
    (f"fit -c {LSTM} --model.optimizer.weight_decay -1", "--model.optimizer.weight_decay can't be -1.0; write 0 or"),
    (f"fit -c {LSTM} --model.hidden_size 1e9", "--model.hidden_size can't be 1e9; write a whole number"),
    (f"fit -c {LSTM} --model.hidden_size 1000000", "there is no memory for this, it asks for 16,000,000,000,000 bytes"),
    (f"fit -c {LSTM} --data.batch_size 64MB", "--data.batch_size can't be 64MB; write a whole number"),
    (f"fit -c {LSTM} --data.batch_size -5", "batch_size is -5; write a positive number"),
    (f"fit -c {LSTM} --data.batch_size 1.5", "--data.batch_size can't be 1.5; write a whole number"),
    (f"fit -c {LSTM} --trainer.max_steps 1k", "--trainer.max_steps can't be 1k; write a whole number"),
    (f"fit -c {LSTM} --trainer.max_steps 1e3", "--trainer.max_steps can't be 1000.0; write a whole number"),
    (f"fit -c {LSTM} --trainer.max_steps null", "--trainer.max_steps can't be None; write a whole number"),
    (f"fit -c {LSTM} --trainer.max_steps 0", "--trainer.max_steps can't be 0; write 1 or more, or -1 for no limit"),
    (f"fit -c {LSTM} --trainer.max_epochs 0", "--trainer.max_epochs can't be 0; write 1 or more, or -1 for no limit"),
    (f"fit -c {LSTM} --trainer.max_time 5", "--trainer.max_time can't be 5; write days:hours:minutes:seconds"),
    (f"fit -c {LSTM} --trainer.max_time 00:00:00:00", "--trainer.max_time can't be 00:00:00:00; write days:hours"),
    (
        f"fit -c {LSTM} --trainer.limit_train_batches 0",
        "--trainer.limit_train_batches can't be 0; write a number above",
    ),
    (f"fit -c {LSTM} --trainer.limit_train_batches -1", "--trainer.limit_train_batches can't be -1; write a number ab"),
    (f"fit -c {LSTM} --trainer.limit_train_batches 1.5", "invalid value 1.5 for limit_train_batches"),
    (f"fit -c {LSTM} --trainer.overfit_batches -1", "invalid value -1 for overfit_batches"),
    (
        f"fit -c {LSTM} --trainer.gradient_clip_val -1",
        "--trainer.gradient_clip_val can't be -1; write a number above 0",
    ),
    (f"fit -c {LSTM} --trainer.gradient_clip_algorithm x", "gradient_clip_algorithm` x is invalid"),
    (
        f"fit -c {LSTM} --trainer.accumulate_grad_batches 0",
        "--trainer.accumulate_grad_batches can't be 0; write a larger --data.batch_size",
    ),
    (f"fit -c {LSTM} --trainer.log_every_n_steps -1", "--trainer.log_every_n_steps can't be -1; write 0 or more"),
    (f"fit -c {LSTM} --trainer.val_check_interval 0", "--trainer.val_check_interval can't be 0; write a number above"),
    (f"fit -c {LSTM} --trainer.val_check_interval 999999", "`val_check_interval` (999999) must be less than or equal"),
    (f"fit -c {LSTM} --trainer.check_val_every_n_epoch 0", "--trainer.check_val_every_n_epoch can't be 0; write 1"),
    (
        f"fit -c {LSTM} --trainer.num_sanity_val_steps -2",
        "--trainer.num_sanity_val_steps can't be -2; write -1 or more",
    ),
    (f"fit -c {LSTM} --seed_everything 4294967296", "--seed_everything can't be 4294967296; write a whole number from"),
    (f"fit -c {LSTM} --seed_everything 1.5", "--seed_everything can't be 1.5; write"),
    (f"fit -c {LSTM} --checkpoint.every_n_train_steps 0", "every_n_train_steps is 0; write 1 or more"),
    (f"fit -c {LSTM} --checkpoint.mode best", "--checkpoint.mode can't be best; write max or min"),
    # What doesn't go together, with each other or with this machine.
    (
        f"fit -c {LSTM} --trainer.min_steps 9 --trainer.max_steps 2",
        "--trainer.min_steps is 9 and --trainer.max_steps is 2",
    ),
    (f"fit -c {LSTM} --trainer.min_epochs 9 --trainer.max_epochs 2", "--trainer.min_epochs is 9 and --trainer.max_ep"),
    (f"fit -c {LSTM} --model.horizon 5", "--model.horizon is what the data says; write --data.length"),
    (f"fit -c {LSTM} --model.target=second_half", "--model.target is what the data says; write --data.target"),
    (
        f"fit -c {LSTM} --checkpoint.monitor val/nothing",
        "checkpoint.monitor is 'val/nothing', which wasn't logged; logged",
    ),
    (f"fit -c {LSTM} --trainer.accelerator cpu --trainer.devices 0", "--trainer.devices can't be 0; write 1 to "),
    (f"fit -c {LSTM} --trainer.accelerator cpu --trainer.devices -3", "--trainer.devices can't be -3; write 1 to "),
    (f"fit -c {LSTM} --trainer.accelerator cpu --trainer.devices 4000", "--trainer.devices can't be 4000; write 1 to "),
    (f"fit -c {LSTM} --trainer.accelerator cpu --trainer.devices two", "should be an int > 0"),
    (
        f"fit -c {LSTM} --trainer.accelerator cpu --trainer.precision 16-mixed",
        "can't be 16-mixed on the CPU; write bf16-mixed",
    ),
    (f"fit -c {LSTM} --trainer.precision 7", "--trainer.precision can't be 7; write"),
    (f"fit -c {LSTM} --trainer.num_nodes 0", "--trainer.num_nodes can't be 0; write 1 or more"),
    (f"fit -c {LSTM} --trainer.strategy ddp_spawn", "--trainer.strategy can't be ddp_spawn; write auto"),
    (f"fit -c {LSTM} --trainer.strategy magic", "invalid strategy name: `strategy='magic'`"),
    (f"fit -c {LSTM} --trainer.profiler magic", "`profiler` parameter"),
    (
        f"fit -c {LSTM} --trainer.logger callbacks.ImageGrid",
        "--trainer.logger: Import path does not correspond to a sub",
    ),
    (f"fit -c {LSTM} --experiment größe", "experiment 'größe' names a folder; write letters"),
    (f"fit -c {LSTM} --data.size 100", "size is 100, but fresh palindromes never run out; leave size out"),
    (f"fit -c {LSTM} --data datamodules.MNISTDataModule", "init 'forget_log' needs the horizon"),
    (
        f"fit -c {LSTM} --ckpt_path http://127.0.0.1:9/x.ckpt",
        "fit goes on with a whole run, not with http://127.0.0.1:9",
    ),
    # Each config's own.
    (
        f"fit -c {LSTM} --model.kernel fast",
        "kernel 'fast' isn't known; for the LSTM write one of auto, equations, manual",
    ),
    (f"fit -c {RNN} --model.init identity", "init 'identity' goes with relu; write nonlinearity relu"),
    (f"fit -c {RNN} --model.nonlinearity sigmoid", "nonlinearity 'sigmoid' isn't known; write one of tanh, relu"),
    (f"fit -c {LONG} --data.length 4", "the curriculum starts at length 5, above its target 4"),
    (f"fit -c {LONG} --data.batches_per_epoch 0", "batches_per_epoch is 0; write a positive number"),
    (f"fit -c {RECALL} --data.length 5", "the curriculum starts at length 6, above its target 5"),
    (f"fit -c {RECALL} --data.target first", "--data.target can't be first; write last or second_half"),
    (f"fit -c {GAN} --data.source torch", "--data.source can't be torch; write auto or torchvision or packaged"),
    (f"fit -c {GAN} --data.predict_size 0", "predict_size is 0; write a positive number, or null for all"),
    (
        f"fit -c {GAN} --data.source packaged --data.batch_size 10000000",
        "and there are 4,000 images to train on; write",
    ),
    (f"fit -c {GAN} --model.generator.widths 256", "--model.generator.widths can't be 256; write a list in brackets"),
    (f"fit -c {GAN} --model.generator.widths [256,0]", "widths [256, 0] and channels 4; write positive numbers"),
    (f"fit -c {GAN} --model.r1 .nan", "r1 is nan; write a weight of 0 or more"),
    (f"fit -c {GAN} --model.gradient_penalty 3", "gradient_penalty pulls the discriminator's slope to 1"),
    (f"fit -c {GAN} --model.generator_lr_scheduler.end_factor .nan", "end_factor can't be nan; write a finite number"),
    (f"fit -c {GAN} --trainer.gradient_clip_val 1 --data.source packaged", "gradient clipping is not supported"),
    (
        f"fit -c {GAN} --trainer.accumulate_grad_batches 2 --data.source packaged",
        "can't be 2; write a larger --data.batch_size",
    ),
    (f"fit -c {TEMPLATE} --model.generator_optimizer.betas [0.9,1]", "betas can't be [0.9, 1.0]; write two numbers"),
    (f"fit -c {TEMPLATE} --model.ema_decay .nan", "ema_decay is nan; write a number between 0 and 1"),
    (f"fit -c {DCGAN} --model.generator.channels 0", "channels is 0; write positive numbers"),
    (f"fit -c {DCGAN} --model.r1 1", "the discriminator's BatchNorm mixes the images"),
    (f"fit -c {DCGAN} --model.discriminator.normalisation btach", "can't be btach; write batch or spectral or none"),
    (f"fit -c {HINGE} --model.loss hinged", "loss is 'hinged'; write one of minimax, nonsaturating, hinge"),
    (f"fit -c {HINGE} --model.n_critic 0", "n_critic is 0; write 1 for every batch"),
    (f"fit -c {WGAN} --model.gradient_penalty 0", "the wasserstein loss grows without end"),
    (f"fit -c {WGAN} --model.discriminator_optimizer.lr -1", "--model.discriminator_optimizer.lr can't be -1.0; write"),
    (
        f"fit -c {CLASSIFIER} --model.lr_scheduler.max_lr -1",
        "--model.lr_scheduler.max_lr can't be -1.0; write 0 or more",
    ),
    (f"fit -c {CLASSIFIER} --data.source packaged --data.batch_size 9999", "and there are 3,500 images to train on"),
    (
        f"fit -c {CLASSIFIER} --data.source packaged --checkpoint.monitor val/fid",
        "checkpoint.monitor is 'val/fid', which",
    ),
    (
        f"fit -c {CLASSIFIER} --model.network networks.mlp_gan.MLPDiscriminator",
        "for 2 images MLPDiscriminator gives (2,); give ten logits each",
    ),
    (
        f"fit -c {CLASSIFIER} --model.network networks.mlp_gan.MLPGenerator",
        "MLPGenerator can't read an image of 1 × 28 × 28; write a classifier of digits",
    ),
    (f"fit -c {READER} --model.network.hidden_size 0", "hidden_size is 0; write 1 or more"),
    (
        f"fit -c {READER} --data.source packaged --model.lr_scheduler.total_steps 0",
        "Expected positive integer total_st",
    ),
    # The other commands.
    (f"test -c {LSTM} --ckpt_path", "argument --ckpt_path: expected one argument"),
    (f"predict -c {LSTM} --ckpt_pth last", "there is no setting --ckpt_pth here; did you mean --ckpt_path?"),
    (f"validate -c {LSTM} --ckpt_path best", "--ckpt_path best goes with a run's own config"),
    (f"test -c {LSTM} --ckpt_path text.yaml", "text.yaml is damaged or holds more than tensors"),
    (f"test -c {LSTM} --ckpt_path http://127.0.0.1:9/x.ckpt", "is a URL; download the file"),
    (f"predict -c {LSTM} --ckpt_path .", "is not a file"),
    (f"predict -c {GAN} --ckpt_path text.yaml --trainer.limit_predict_batches -1", "text.yaml is damaged"),
    (f"validate -c {LSTM} --ckpt_path last --trainer.accelerator cpu --trainer.devices 4000", "devices can't be 4000"),
]


SCRIPTS = [
    ("export", "the following arguments are required: generator"),
    ("export nowhere.pth --onnx x.onnx", "nowhere.pth is not a file"),
    ("export nowhere.pth --onx x.onnx", "there is no option --onx here; did you mean --onnx?"),
    ("export nowhere.pth --safe x.safetensors", "there is no option --safe here; did you mean --safetensors?"),
    ("export text.yaml --onnx x.onnx", "text.yaml is damaged or holds more than tensors"),
    ("export http://127.0.0.1:9/x.pth --onnx x.onnx", "is a URL; download the file"),
    ("sample", "the following arguments are required: generator, --out"),
    ("sample nowhere.pth --out x.PNG", "nowhere.pth is not a file"),
    ("sample nowhere.pth --out x.png --sed 3", "there is no option --sed here; did you mean --seed?"),
    ("sample nowhere.pth --out x.png --n 3.5", "--n: can't be 3.5; write a whole number, 1 or more"),
    ("interpolate nowhere.pth --digits 3 8 --out x.png", "nowhere.pth is not a file"),
    (
        "interpolate nowhere.pth --digits 3 8 --out x.png --frame 3",
        "there is no option --frame here; did you mean --fra",
    ),
    ("interpolate nowhere.pth --seeds 1 nan --out x.png", "--seeds: can't be nan; write a whole number, 0 to"),
    ("train_classifier", "the following arguments are required: config"),
    ("train_classifier nowhere", "invalid choice: 'nowhere'"),
    ("train_classifier digit_reader --uot x", "there is no option --uot here; did you mean --out?"),
    ("plot_gates nowhere.ckpt", "nowhere.ckpt is not a file"),
    ("plot_gates text.yaml", "text.yaml is damaged or holds more than tensors"),
    ("plot_gates nowhere.ckpt --len 3", "there is no option --len here; did you mean --length?"),
    ("demo --fast", "there is no option --fast here"),
    ("demo runs", "unrecognized arguments: runs"),
    ("report --fulll", "there is no option --fulll here; did you mean --full?"),
    ("report --only grid", "--only grid is not a figure; write one of curves_T5, curves_T20, horizon"),
    ("speed --peer nowhere", "--peer nowhere is no checkout of PyTorch-GAN with commit 36d3c77"),
    ("speed --pear x", "there is no option --pear here; did you mean --peer?"),
    ("speed gna", "there is no benchmark gna here; write gan, overhead, evaluations, processes"),
    ("gan recipes --seeds one", "--seeds can't be 'one'; write a whole number"),
    ("gan --recipes gna", "argument --recipes: invalid choice: 'gna'"),
    ("gan --source mnist", "argument --source: invalid choice: 'mnist'"),
    ("gan long --root text.yaml", "text.yaml"),
    ("gan fixes --source packaged --batches 3", "--batches is 3; write 40 or more"),
    ("crash_resume --experiments gna", "argument --experiments: invalid choice: 'gna'"),
]


def write_bad_files(folder: Path) -> None:
    """The files that the commands above name, except `nowhere`."""
    text = Path(LSTM).read_text()
    contents = {
        "torn": "model: [1, 2\nfoo: 3\n",
        "empty": "",
        "unfiled": text.replace("experiment: palindrome_lstm", ""),
        "modle": text.replace("model:", "modle:"),
        "hiden": text.replace("hidden_size", "hiden_size"),
        "unknown_class": text.replace("PalindromeLSTM", "PalindromLSTM"),
        "double": text.replace("  max_steps: 500", "  max_steps: 2\n  max_steps: 3"),
        "doubled_beside": text.replace("{ lr: 0.01,", "{ lr: 0.01, lr: 0.02,"),
        "doubled_section": text + "model:\n  class_path: lightning_modules.PalindromeRNN\n",
        "tab": text.replace("    hidden_size", "\thidden_size"),
        "list": "- model\n- data\n",
        "text": "just some words\n",
        "nul": "model: \0\n",
        "laughs": "a: &a [x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
        "itself": "a: &a [*a]\n",
        "deep": "a: " + "[" * 3000 + "]" * 3000 + "\n",
        "code": "a: !!python/object/apply:os.system [touch owned]\n",
        "umlaut": text.replace("palindrome_lstm", "größe"),
    }
    for name, content in contents.items():
        (folder / f"{name}.yaml").write_text(content)
    (folder / "binary.yaml").write_bytes(bytes(range(255, 0, -1)))
    (folder / "latin.yaml").write_bytes("experiment: größe\n".encode("latin-1"))
    (folder / "huge.yaml").touch()
    os.truncate(folder / "huge.yaml", 300_000_000)
    os.mkfifo(folder / "pipe.yaml")
    (folder / "loop.yaml").symlink_to("loop.yaml")
