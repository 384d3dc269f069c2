#!/bin/bash
# Trains on two machines with two GPUs each, and goes on by itself when the time is up:
#
#     sbatch scripts/slurm.sh configs/dcgan.yaml --data.root /shared/data
#
# The first machine decides which run it is and writes its folder, so runs/ (or $TWOFOLD_RUNS) has to lie where all
# machines see it. The batch size of a config is that of all processes together, whatever their number.

#SBATCH --job-name=twofold
# As many machines as --trainer.num_nodes below, and on each as many tasks (and GPUs) as --trainer.devices: srun starts
# one process for each task. Say --ntasks-per-node, for --ntasks alone doesn't tell where they run.
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=2
#SBATCH --gpus-per-node=2
# The data lies in one tensor and no workers feed it, so a process needs no more than a core or two.
#SBATCH --cpus-per-task=2
#SBATCH --time=04:00:00
# 90 seconds before the time is up SLURM sends SIGUSR1 to every task. The run then saves a checkpoint after the batch it
# is at, and asks to be queued again; give it more seconds where a batch, or the final metrics, take longer.
#SBATCH --signal=SIGUSR1@90
# Without this SLURM refuses that request. When the job starts again, the same command finds the run it had begun.
#SBATCH --requeue
# One file for all of the job's lives: appended to, not written anew.
#SBATCH --output=slurm-%j.out
#SBATCH --open-mode=append

set -euo pipefail

config=${1:?which experiment? sbatch scripts/slurm.sh configs/dcgan.yaml}
shift

# exec, so that what ends srun ends the job.
exec srun twofold fit -c "$config" --trainer.num_nodes 2 --trainer.devices 2 "$@"
