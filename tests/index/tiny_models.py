"""Small sentence-transformers models with random weights: exported, beside the original's vectors.

`python -m tests.index.tiny_models DIR`; a process of its own, for it needs torch.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

TEXTS = ["the red bread", "where is my sister", "bread bread sister", "the " * 20 + "bread"]
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
SMALL = {**SIZES, "intermediate_size": 64, "vocab_size": 128, "max_position_embeddings": 132}


def main(to: Path) -> None:
    import numpy as np
    import torch
    from sentence_transformers import SentenceTransformer

    from cacheserver.index.export import export

    transformers: Any = import_module("transformers")
    torch.manual_seed(5)
    kinds: dict[str, tuple[Any, dict[str, Any]]] = {
        # architecture, and what its card says
        "bert": (transformers.BertConfig(**SMALL), {"prefix": "query: "}),
        "mpnet": (transformers.MPNetConfig(**SMALL), {"pooling": "cls"}),
        "roberta": (transformers.XLMRobertaConfig(**SMALL), {"pooling": "max", "dense": 16}),
    }
    for name, (config, card) in kinds.items():
        config.pad_token_id = 0 if name == "bert" else 1
        folder = to / name
        encoder = transformers.AutoModel.from_config(config)
        encoder.save_pretrained(folder)
        _describe(folder, **card)
        export(to / f"{name}-exported", str(folder))
        original = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
        texts = [card.get("prefix", "") + text for text in TEXTS]
        vectors = original.encode(texts, prompt="", normalize_embeddings=True, batch_size=1)
        np.save(to / f"{name}.npy", vectors)
    cached = to / "hub/models--tests--bert"
    shutil.copytree(to / "bert", cached / "snapshots/0123")
    (cached / "refs").mkdir()
    (cached / "refs/main").write_text("0123")
    export(to / "named", "tests/bert")


def _describe(
    folder: Path, pooling: str = "mean", prefix: str = "", dense: int | None = None
) -> None:
    """Write the files of the card, and a tokeniser of single ASCII characters."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors

    special = ["<pad0>", "<pad>", "<s>", "</s>", "<unk>"]
    vocabulary = {word: at for at, word in enumerate([*special, *map(chr, range(32, 127))])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    ends = [("<s>", vocabulary["<s>"]), ("</s>", vocabulary["</s>"])]
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=ends)
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"unk_token": "<unk>", "pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
    _write(
        folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", **names}
    )
    steps = ["Transformer", "Pooling", *(["Dense"] if dense else []), "Normalize"]
    modules = [
        {
            "idx": at,
            "name": str(at),
            "path": f"{at}_{step}" if at else "",
            "type": f"sentence_transformers.models.{step}",
        }
        for at, step in enumerate(steps)
    ]
    _write(folder / "modules.json", modules)
    modes = {"mean": "mean_tokens", "cls": "cls_token", "max": "max_tokens"}
    flags = {f"pooling_mode_{flag}": mode == pooling for mode, flag in modes.items()}
    _write(folder / "1_Pooling/config.json", {"word_embedding_dimension": 32, **flags})
    _write(folder / "sentence_bert_config.json", {"max_seq_length": 128, "do_lower_case": False})
    if prefix:
        _write(folder / "config_sentence_transformers.json", {"prompts": {"query": prefix}})
    if dense:
        _dense(folder / "2_Dense", dense)


def _dense(folder: Path, size: int) -> None:
    models: Any = import_module("sentence_transformers.models")
    folder.mkdir()
    models.Dense(32, size).save(str(folder))


def _write(file: Path, value: Any) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(value))


if __name__ == "__main__":
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": f"{sys.argv[1]}/hub"}
    main(Path(sys.argv[1]))
