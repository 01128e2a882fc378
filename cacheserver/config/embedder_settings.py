"""Settings of the embedder: which model turns questions into vectors, and where it runs."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from cacheserver.config.fields import Secret, setting

MINILM = "minilm"


class EmbedderSettings(BaseModel):
    """One value per setting; `Settings` has all of them."""

    embedder: str = setting(
        MINILM,
        "The embedding model: `minilm`, the folder or name of a sentence-transformers model, an "
        "exported folder, or the http(s) URL of an embeddings endpoint in OpenAI's shape "
        "([how](embedders.md)).",
        "all-MiniLM-L6-v2: a millisecond a question on one core; it reads English.",
        min_length=1,
    )
    model_dir: Path | None = setting(
        None,
        "The folder of the exported `minilm`; by default `model` in the data directory.",
        "It is made once per machine and lives with the data it measures.",
    )
    embedder_model: str | None = setting(
        None,
        "The `model` that an embeddings endpoint is asked for. Another name is another embedder: "
        "change it whenever the model behind the URL changes.",
        "None: for servers that have one model.",
        min_length=1,
    )
    embedder_key: Secret = setting(
        None,
        "The key for an embeddings endpoint, sent as `Authorization: Bearer`. A secret.",
        "None: most servers of one's own ask for none.",
    )
    embedder_key_file: Path | None = setting(
        None,
        "A file with that key.",
        "Without it, the variable.",
    )
    embedder_prefix: str | None = setting(
        None,
        'What is put before every text, such as "query: ". Empty is not unset: it takes away a '
        "model's own.",
        "None: what the model's own files say; before texts for an endpoint, nothing.",
        max_length=200,
    )
    embedder_timeout_s: float = setting(
        0.5,
        "How long a request waits for an embeddings endpoint; after that it is a miss.",
        "A hundred times what a server beside this one takes, and not noticed beside Claude.",
        gt=0,
        le=30,
    )
    embedder_max_bytes: int = setting(
        509,
        "The longest text that is sent to an embeddings endpoint, in UTF-8 bytes after Unicode "
        "normalisation; longer ones are matched exactly only.",
        "An endpoint cuts what it does not read and does not say so. A text has no more word "
        "pieces than bytes, and three around it; nearly every model reads 512.",
        ge=16,
        le=1_000_000,
    )
    embedder_prior: str | None = setting(
        None,
        "The prior fitted for the embedder: a file that `scripts/fit_prior` wrote, or "
        "`multilingual-e5-small`, which ships.",
        "None: `prior.json` beside the exported model, else `minilm`'s own; for any other embedder "
        "none, and scopes without labels serve only twins.",
        min_length=1,
    )
