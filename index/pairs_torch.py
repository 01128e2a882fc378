"""The verifier in torch: its architecture, its deltas, its export. Never imported while serving."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import AutoModel

from index.errors import ExportFailed
from index.models import file_hash

WIDTH = 384
HEAD = 3 * WIDTH


class PairModel(nn.Module):
    """Logit that one answer serves both questions.

    The head sees the mean over all tokens, and the absolute difference and the product of the
    two questions' own means: the last two carry over what the embedding model already knows.
    """

    def __init__(self, weights: Path) -> None:
        super().__init__()
        self.encoder = AutoModel.from_pretrained(
            weights,
            attn_implementation="eager",
            # Hardly a pair is seen twice: there is nothing for dropout to prevent.
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
        self.head = nn.Linear(HEAD, 1)
        with torch.no_grad():  # starts as a steep cosine around 0.8
            self.head.weight.zero_()
            self.head.weight[0, 2 * WIDTH :] = 10.0 / WIDTH
            self.head.bias.fill_(-8.0)
        for name, parameter in self.encoder.embeddings.named_parameters():
            # The word table is 11.7 of the 22 million weights; it stays the public one.
            parameter.requires_grad = name.startswith("token_type")

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        hidden = self.encoder(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
        ).last_hidden_state.float()
        second = token_type_ids.to(hidden.dtype)
        whole = attention_mask.to(hidden.dtype)
        one, other = _mean(hidden, whole - second), _mean(hidden, second)
        one, other = (nn.functional.normalize(v, dim=1) * WIDTH**0.5 for v in (one, other))
        seen = torch.cat([_mean(hidden, whole), (one - other).abs(), one * other], dim=1)
        return cast(Tensor, self.head(seen)).squeeze(1)


def _mean(hidden: Tensor, mask: Tensor) -> Tensor:
    return (hidden * mask.unsqueeze(2)).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


def trained(model: PairModel) -> dict[str, Tensor]:
    """The parameters that training moves, by name."""
    return {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}


def pack(checkpoint: Mapping[str, Tensor], weights: Path, to: Path, about: str) -> None:
    """Write what `checkpoint` adds to the public weights: int8 a row, and a scale for each row.

    10.7 MB. A step of a delta is a 127th of the row's largest change, far under the int8 step
    of the weights themselves. `about` goes into the file's metadata.
    """
    base = trained(PairModel(weights))
    packed: dict[str, Tensor] = {}
    for name, value in checkpoint.items():
        if name.startswith("head"):
            packed[name] = value.contiguous()
            continue
        delta = (value - base[name]).float()
        if delta.dim() < 2:
            packed[name] = delta.half().contiguous()
            continue
        scale = delta.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / 127
        packed[name] = torch.round(delta / scale).to(torch.int8).contiguous()
        packed[f"{name}.scale"] = scale.float().contiguous()
    save_file(packed, to, metadata={"weights_sha256": _digest(weights), "about": about})


def load(deltas: Path, weights: Path) -> PairModel:
    """The model that `deltas` make of the public weights, ready to score.

    Raises `ExportFailed` where the deltas were made against other weights.
    """
    model = PairModel(weights)
    with safe_open(deltas, framework="pt") as file:
        expected = (file.metadata() or {}).get("weights_sha256")
        if expected != _digest(weights):
            raise ExportFailed(
                f"`{deltas.name}` belongs to other weights than those in `{weights}`"
            )
        with torch.no_grad():
            for name, parameter in trained(model).items():
                delta = file.get_tensor(name).float()
                if name.startswith("head"):
                    parameter.copy_(delta)
                    continue
                if delta.dim() >= 2:
                    delta = delta * file.get_tensor(f"{name}.scale")
                parameter.add_(delta)
    return model.eval()


class OnePair(nn.Module):
    """`PairModel` for one pair alone, which is what is served: no mask, no padding, no batch.

    The three projections of attention are one product, and shapes are known but for the length:
    about a fifth of the time, and a score that no other pair can move.
    """

    def __init__(self, model: PairModel) -> None:
        super().__init__()
        self.embeddings = model.encoder.embeddings
        self.layers = model.encoder.encoder.layer
        self.head = model.head
        self.heads = model.encoder.config.num_attention_heads
        self.joined = nn.ModuleList(_joined(layer.attention.self) for layer in self.layers)

    def forward(self, ids: Tensor, types: Tensor) -> Tensor:
        """The logit; `ids` and `types` are of one dimension."""
        known = self.embeddings
        x = known.word_embeddings(ids) + known.token_type_embeddings(types)
        x = known.LayerNorm(x + known.position_embeddings.weight[: ids.shape[0]])
        for layer, joined in zip(self.layers, self.joined, strict=True):
            parts = joined(x).reshape(-1, 3 * self.heads, WIDTH // self.heads).transpose(0, 1)
            query, key, value = parts.split(self.heads)
            seen = torch.softmax(query @ key.transpose(1, 2), -1) @ value
            seen = seen.transpose(0, 1).reshape(-1, WIDTH)
            x = layer.attention.output.LayerNorm(layer.attention.output.dense(seen) + x)
            wide = nn.functional.gelu(layer.intermediate.dense(x))
            x = layer.output.LayerNorm(layer.output.dense(wide) + x)
        second = types.to(x.dtype)
        one, other = (
            nn.functional.normalize(part @ x / part.sum().clamp(min=1), dim=0) * WIDTH**0.5
            for part in (1 - second, second)
        )
        return cast(Tensor, self.head(torch.cat([x.mean(0), (one - other).abs(), one * other])))


def _joined(attention: nn.Module) -> nn.Linear:
    """Query, key and value as one product, the query scaled already."""
    parts = [cast(nn.Linear, getattr(attention, name)) for name in ("query", "key", "value")]
    scales = (cast(int, attention.attention_head_size) ** -0.5, 1.0, 1.0)
    made = nn.Linear(WIDTH, 3 * WIDTH)
    with torch.no_grad():
        made.weight.copy_(torch.cat([p.weight * s for p, s in zip(parts, scales, strict=True)]))
        made.bias.copy_(torch.cat([p.bias * s for p, s in zip(parts, scales, strict=True)]))
    return made


def write_onnx(model: PairModel, to: Path) -> None:
    """Write `model` as int8 ONNX for one pair of any length."""
    ids, types = torch.ones(8, dtype=torch.long), torch.tensor([0] * 4 + [1] * 4)
    with tempfile.TemporaryDirectory() as folder:
        exact = Path(folder) / "exact.onnx"
        with warnings.catch_warnings():
            # The newer exporter needs packages that nothing else here does, for the same graph.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                OnePair(model).eval(),
                (ids, types),
                str(exact),
                input_names=["ids", "types"],
                output_names=["logit"],
                dynamic_axes={"ids": {0: "tokens"}, "types": {0: "tokens"}},
                opset_version=17,
                dynamo=False,
            )
        quantize_dynamic(
            exact,
            to,
            weight_type=QuantType.QInt8,
            per_channel=True,  # halves the distance to the exact logits: 0.51 to 0.24
            reduce_range=True,  # as the embedder: else scores differ by machine
        )


def _digest(weights: Path) -> str:
    return file_hash(weights / "model.safetensors")
