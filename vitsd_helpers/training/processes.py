"""Several processes that train one model together, on one machine or more.

Each runs the same program, and JAX sees the devices of all. Nothing here
needs Keras until it is called, so that a launcher starts at once.
"""

import inspect
import os

#: What `initialize` reads: the first process's address, how many processes
#: there are, and which of them this is, from 0.
VARIABLES = ("VITSD_COORDINATOR", "VITSD_PROCESSES", "VITSD_PROCESS")
#: Seconds without a sign after which a process is given up.
HEARTBEAT = 10


def first_process() -> bool:
    """Whether this process is the only one, or the one that writes."""
    import keras

    if keras.backend.backend() != "jax":
        return True
    import jax

    return jax.process_index() == 0


def process_count() -> int:
    """How many processes train together, on JAX."""
    import jax

    return jax.process_count()


def initialize() -> bool:
    """Join this process to the others of its run, on one machine or many.

    Call it before anything is computed. Who the others are is said by the
    environment: by `VARIABLES`, or by Slurm, in a step that `srun` started.
    All devices of all processes then are one, and every process runs the
    same calls; `train` has the first write checkpoints and report.

    The first process listens at `VITSD_COORDINATOR` and nowhere else: at
    127.0.0.1:PORT no other machine reaches it. Slurm's coordinator listens
    on all addresses of its node, unless JAX_COORDINATOR_BIND_ADDRESS is set.

    Keras's own `keras.distribution.initialize` is not used: it cannot pass
    on the heartbeat, and finds a lost process after 100 seconds.

    Returns:
        Whether there are others.

    Raises:
        ValueError: if only some of the variables are set.
        RuntimeError: on another backend than JAX, or if the others do not
            come within five minutes.
    """
    given = [os.environ.get(name) for name in VARIABLES]
    in_slurm = "SLURM_STEP_NODELIST" in os.environ
    in_slurm = in_slurm and int(os.environ.get("SLURM_NTASKS", 1)) > 1
    if not any(given) and not in_slurm:
        return False
    if any(given) and not all(given):
        missing = [n for n, v in zip(VARIABLES, given, strict=True) if not v]
        raise ValueError(
            f"{' and '.join(missing)} is not set: several processes need "
            f"{', '.join(VARIABLES)}, such as 127.0.0.1:1234, 2 and 0."
        )
    import keras

    if keras.backend.backend() != "jax":
        raise RuntimeError(
            f"the backend is {keras.backend.backend()}: several processes "
            "need KERAS_BACKEND=jax."
        )
    import jax

    # Else SIGTERM would be caught, and the training go on. Older JAX has no
    # such switch.
    if hasattr(jax.config, "jax_enable_preemption_service"):
        jax.config.update("jax_enable_preemption_service", False)
    where: dict = {}
    address, count, number = given
    if address and count and number:
        where = {
            "coordinator_address": address,
            "num_processes": int(count),
            "process_id": int(number),
            "coordinator_bind_address": os.environ.get(
                "JAX_COORDINATOR_BIND_ADDRESS", address
            ),
        }
    limits = {
        "heartbeat_timeout_seconds": HEARTBEAT,
        "shutdown_timeout_seconds": 2 * HEARTBEAT,
    }
    # The second one is younger than the JAX of Colab.
    known = inspect.signature(jax.distributed.initialize).parameters
    jax.distributed.initialize(
        **where, **{k: v for k, v in limits.items() if k in known}
    )
    keras.distribution.set_distribution(
        keras.distribution.DataParallel(auto_shard_dataset=False)
    )
    return True


def same_everywhere(number: int) -> bool:
    """Whether all processes have the same number."""
    import keras

    if keras.backend.backend() != "jax":
        return True
    import jax
    from jax.experimental import multihost_utils

    if jax.process_count() == 1:
        return True
    return len(set(multihost_utils.process_allgather(number).tolist())) == 1
