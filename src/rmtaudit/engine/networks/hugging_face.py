"""A network of ``transformers``, from its folder; its own code and its pickles never run."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.engine.networks.network import Network, Origin, TokenFacts
from rmtaudit.engine.networks.prepare import digest_of, prepared
from rmtaudit.engine.networks.settings import NetworkSettings
from rmtaudit.errors import InputError, RmtauditError, UsageError
from rmtaudit.names import display_name

_NUMBERS = frozenset({"pixel_values", "input_values", "input_features", "inputs_embeds"})
"""Main inputs that are numbers, not tokens."""
_TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "spiece.model", "tokenizer.model")


def open_folder(folder: Path, settings: NetworkSettings) -> Network:
    """Open the folder of a ``transformers`` model.

    The class is the one that ``config.json`` names, of ``transformers`` itself. Weights are read by
    rmtaudit's readers and handed over; quantised ones are decoded. Attention runs as plain matrix products
    (``eager``): every step has a gradient that can be batched.

    Raises
    ------
    UsageError
        RA-NW-020: ``transformers`` is not installed. RA-NW-021: the class is not one of ``transformers``.
    InputError
        RA-NW-022: the configuration cannot be used. RA-NW-023: weights are missing, or of another shape.
    """
    transformers = _transformers(folder)
    where = display_name(folder.name or str(folder))
    try:
        config = transformers.AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # transformers raises what it likes over a configuration
        raise _unusable(error, where) from error
    kind = _class_of(transformers, config, where)
    with open_checkpoint(folder) as checkpoint:
        state = {spec.name: checkpoint.read(spec.name) for spec in checkpoint.tensors}
        warnings = list(checkpoint.warnings)
    config.use_cache = False
    if getattr(config, "quantization_config", None) is not None:
        del config.quantization_config  # the weights are decoded
    try:
        network, info = kind.from_pretrained(
            None,
            config=config,
            state_dict=state,
            dtype=getattr(torch, settings.dtype),
            output_loading_info=True,
            attn_implementation="eager",
        )
    except Exception as error:
        raise _unusable(error, where) from error
    _check_filled(info, where)
    if info["unexpected_keys"]:
        first = sorted(str(key) for key in info["unexpected_keys"])[0]
        warnings.append(
            f"{len(info['unexpected_keys'])} tensors are not used by {kind.__name__}:"
            f" '{display_name(first)}' …"
        )
    network, more = prepared(network, settings)
    main = str(network.main_input_name)
    parameters = inspect.signature(network.forward).parameters.values()
    return Network(
        module=network,
        name=where,
        origin=Origin.HUGGING_FACE,
        dtype=getattr(torch, settings.dtype),
        device=torch.device(settings.device),
        main_input=main,
        keywords=frozenset(each.name for each in parameters if each.kind is not each.VAR_KEYWORD),
        tokens=None if main in _NUMBERS else _token_facts(transformers, folder, network),
        warnings=(*warnings, *more),
        digest=digest_of(network),
    )


def _transformers(folder: Path) -> Any:
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    try:
        import transformers
    except ImportError as error:
        raise UsageError(
            "RA-NW-020",
            "The package transformers is not installed.",
            hint="pip install 'rmtaudit[networks]'",
            where=display_name(folder.name),
        ) from error
    library: Any = transformers  # which declares its types in part
    library.utils.logging.set_verbosity_error()
    library.utils.logging.disable_progress_bar()
    return library


def _class_of(transformers: Any, config: Any, where: str) -> Any:
    names = list(getattr(config, "architectures", None) or [])
    if not names:
        return transformers.AutoModel._model_mapping[type(config)]
    kind = getattr(transformers, str(names[0]), None)
    if not isinstance(kind, type) or not issubclass(kind, transformers.PreTrainedModel):
        raise UsageError(
            "RA-NW-021",
            f"The file config.json names the class '{display_name(str(names[0]))}', which "
            "transformers does not have.",
            hint=("The model's own code is never run; use module:factory with --allow-code if you trust it."),
            where=where,
        )
    return kind


def _check_filled(info: dict[str, Any], where: str) -> None:
    """Refuse a network part of whose weights are random: what is computed with it would be noise."""
    for key, problem in (("missing_keys", "are missing"), ("mismatched_keys", "have another shape")):
        names = sorted(str(each[0] if isinstance(each, tuple) else each) for each in info[key])
        if names:
            raise InputError(
                "RA-NW-023",
                f"{len(names)} weights of the network {problem}: '{display_name(names[0])}' …; they would be"
                " random.",
                hint="Give the folder of the whole model, with the configuration that belongs to it.",
                where=where,
            )


def _token_facts(transformers: Any, folder: Path, network: Any) -> TokenFacts:
    text = network.config.get_text_config()
    longest = getattr(text, "max_position_embeddings", None)
    longest = longest - _offset(network) if isinstance(longest, int) and longest > 0 else None
    pad = getattr(text, "pad_token_id", None)
    vocabulary = getattr(text, "vocab_size", None)
    has_tokenizer = any((folder / name).is_file() for name in _TOKENIZERS)
    return TokenFacts(
        vocabulary=vocabulary if isinstance(vocabulary, int) else None,
        longest=longest,
        pad=pad if isinstance(pad, int) and pad >= 0 else 0,
        encode=_encoder(transformers, folder, longest) if has_tokenizer else None,
    )


def _offset(network: torch.nn.Module) -> int:
    """Return how many positions are never used: RoBERTa counts from the token after the padding."""
    tables = [each for name, each in network.named_modules() if name.endswith("position_embeddings")]
    pads = [each.padding_idx for each in tables if isinstance(each, torch.nn.Embedding)]
    return max((pad + 1 for pad in pads if pad is not None), default=0)


def _encoder(
    transformers: Any, folder: Path, longest: int | None
) -> Callable[[Sequence[str]], tuple[list[list[int]], int]]:
    def encode(texts: Sequence[str]) -> tuple[list[list[int]], int]:
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
            whole = [list(tokenizer(text, verbose=False)["input_ids"]) for text in texts]
            long = [place for place, ids in enumerate(whole) if longest is not None and len(ids) > longest]
            for place in long:
                cut = tokenizer(texts[place], truncation=True, max_length=longest, verbose=False)
                whole[place] = list(cut["input_ids"])
        except RmtauditError:
            raise
        except Exception as error:  # transformers raises what it likes over a tokenizer
            raise InputError(
                "RA-NW-024",
                f"The tokenizer cannot be used: {display_name(str(error), longest=300)}.",
                hint="Give token ids (input_ids) instead of text.",
                where=display_name(folder.name),
            ) from error
        return whole, len(long)

    return encode


def _unusable(error: Exception, where: str) -> InputError:
    return InputError(
        "RA-NW-022",
        f"The package transformers cannot build the network: {display_name(str(error), longest=300)}.",
        hint="Check config.json, and whether transformers is recent enough.",
        where=where,
    )
