"""Which precisions go with what; all others are refused in words.

| `--trainer.precision` | palindromes | games | classifiers |
|---|---|---|---|
| 32-true, 64-true | yes | yes | yes |
| bf16-mixed | yes; the `gates` kernel computes in 32 bits | yes | yes |
| 16-mixed, on GPUs | without clipping, or with `fused: false` | without penalties | yes |

Weights, averages and checkpoints have 32 bits in all of these (64 in 64-true), so a checkpoint of one can be tested in
another. Weights of 16 bits would lose most of the small steps that Adam takes.
"""

from collections.abc import Mapping
from typing import Any

from twofold.errors import UsageError

SHORT = {"16": "16-mixed", "bf16": "bf16-mixed", "32": "32-true", "64": "64-true", "None": "32-true"}
KNOWN = ("32-true", "64-true", "bf16-mixed", "16-mixed")
PENALTIES = ("r1", "r2", "gradient_penalty")


def refuse_precision(settings: Mapping[str, Any], on_cpu: bool) -> None:
    """Looks at a whole config, as `twofold.resume.leaves` takes it apart.

    Raises:
        UsageError: when its precision doesn't go with the rest, or with the CPU.
    """
    given = str(settings.get("trainer.precision"))
    precision = SHORT.get(given, given)
    if precision not in KNOWN:
        raise UsageError(f"--trainer.precision can't be {given}; write one of {', '.join(KNOWN)}")
    if precision != "16-mixed":
        return
    if on_cpu:
        raise UsageError(f"--trainer.precision can't be {given} on the CPU; write bf16-mixed, or leave it out")
    fused = [key for key, value in settings.items() if key.endswith("optimizer.init_args.fused") and value]
    if fused and settings.get("trainer.gradient_clip_val"):
        raise UsageError(
            "16-mixed scales gradients, and a fused optimizer scales them back after they are clipped; "
            "write bf16-mixed, or --model.optimizer.fused false"
        )
    penalised = [name for name in PENALTIES if settings.get(f"model.init_args.{name}")]
    if penalised:
        raise UsageError(f"{penalised[0]} needs gradients that 16-mixed is too coarse for; write bf16-mixed")
