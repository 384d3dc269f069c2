#!/bin/bash
# Trains on two nodes with two GPUs each, and requeues itself when its time limit is reached:
#
#     sbatch scripts/slurm.sh configs/dcgan.yaml --data.root /shared/data
#
# The run folder is written by rank 0, so runs/ (or $TWOFOLD_RUNS) must be visible on all nodes. The batch size of a
# config is the global one, whatever the number of processes.

#SBATCH --job-name=twofold
# As many nodes as --trainer.num_nodes below, and as many tasks and GPUs on each as --trainer.devices: srun starts one
# process per task. Use --ntasks-per-node, because --ntasks alone doesn't place the tasks.
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=2
#SBATCH --gpus-per-node=2
# The data is one tensor and there are no worker processes, so a process needs one or two cores.
#SBATCH --cpus-per-task=2
#SBATCH --time=04:00:00
# 90 seconds before the time limit SLURM sends SIGUSR1 to every task. The run saves a checkpoint after the current batch
# and requests to be requeued. Write more seconds if a batch, or the final metrics, take longer.
#SBATCH --signal=SIGUSR1@90
# SLURM refuses that request without this. When the job starts again, the same command resumes its run.
#SBATCH --requeue
# One output file for all starts of the job, to which each start appends.
#SBATCH --output=slurm-%j.out
#SBATCH --open-mode=append

set -euo pipefail

config=${1:?no config; write sbatch scripts/slurm.sh configs/dcgan.yaml}
shift

# With exec, a signal that ends srun ends the job.
exec srun twofold fit -c "$config" --trainer.num_nodes 2 --trainer.devices 2 "$@"
