"""Files of DeepSpeed ZeRO: what one process saved, recognised by what its pickle holds."""

from __future__ import annotations

from rmtaudit.checkpoints.conversions import ZERO_HINT
from rmtaudit.checkpoints.walk import EndlessError, walk
from rmtaudit.errors import NotACheckpointError

_HOLDERS = ("module", "model", "state_dict")


def check_whole(root: object, where: str) -> None:
    """Refuse a file whose weights are spread over the files of other processes.

    Parameters
    ----------
    root
        What the unpickler returned.
    where
        The file, for messages.

    Raises
    ------
    NotACheckpointError
        Here are the sizes of the weights alone, or a flat part of them.
    """
    if type(root) is not dict:
        return
    optimizer = root.get("optimizer_state_dict")
    if type(optimizer) is dict and {"zero_stage", "partition_count"} & optimizer.keys():
        raise _refusal("one process's share of the weights and of the optimizer", where)
    inner = next((root[key] for key in _HOLDERS if type(root.get(key)) is dict), root)
    count = 0
    try:
        for _, tensor in walk(inner, {}):
            if tensor.shape != (0,):
                return
            count += 1
    except EndlessError:
        return  # whoever names the tensors refuses it
    if count > 1 or "param_shapes" in root:
        raise _refusal("the names of the weights, and none of their values", where)


def _refusal(what: str, where: str) -> NotACheckpointError:
    return NotACheckpointError(
        "RA-IN-196",
        f"This is a file of DeepSpeed ZeRO, which holds {what}.",
        hint=ZERO_HINT,
        where=where,
    )
