"""Seeds: one for each part of a task, whatever the order of the parts."""

import numpy as np

__all__ = ["child_seed", "seed_sequence"]


def seed_sequence(random_state=None):
    """Turn a ``random_state`` argument into a seed sequence.

    Parameters
    ----------
    random_state : None, int, `~numpy.random.SeedSequence` or \
`~numpy.random.Generator`, optional
        None takes fresh entropy from the operating system. From a Generator
        128 bits are drawn, which advances it. Default is None.

    Returns
    -------
    sequence : `~numpy.random.SeedSequence`
        The seed sequence.

    Raises
    ------
    TypeError
        If ``random_state`` is none of these.
    ValueError
        If ``random_state`` is a negative integer.
    """
    if isinstance(random_state, np.random.SeedSequence):
        return random_state
    if isinstance(random_state, np.random.Generator):
        words = random_state.integers(2**32, size=4, dtype=np.uint32)
        return np.random.SeedSequence([int(word) for word in words])
    is_int = isinstance(random_state, int | np.integer)
    if random_state is not None and (not is_int or isinstance(random_state, bool)):
        raise TypeError(
            f"random_state = {random_state!r}: must be None, an int, "
            "a numpy SeedSequence or a numpy Generator"
        )
    if random_state is None:
        return np.random.SeedSequence()
    if random_state < 0:
        raise ValueError(f"random_state = {random_state}: must not be negative")
    return np.random.SeedSequence(int(random_state))


def child_seed(sequence, *key):
    """Seed sequence of one part of a task, such as one (target, donor, set).

    Unlike `numpy.random.SeedSequence.spawn` the child depends on its key alone,
    not on how many children were made before. The result is therefore the same
    in any order and with any number of processes.

    Parameters
    ----------
    sequence : `~numpy.random.SeedSequence`
        Seed sequence of the whole task.
    *key : int
        Non-negative integers that name the part.

    Returns
    -------
    child : `~numpy.random.SeedSequence`
        Seed sequence of the part.
    """
    return np.random.SeedSequence(
        sequence.entropy, spawn_key=(*sequence.spawn_key, *(int(k) for k in key))
    )
