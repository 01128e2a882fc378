"""`scripts/fit_prior --data DIR --embedder EMBEDDER [--write]`: fit the prior of an embedder.

EMBEDDER is an exported model's folder (what `python -m cacheserver.index.export` wrote), or the URL
of an embeddings endpoint, then with `--to FILE`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cacheserver.config.settings import Settings, is_url
from cacheserver.embedding.build import load
from cacheserver.embedding.prior_file import write_prior
from cacheserver.index.export import EMBEDDER_ID, PRIOR
from scripts.pairs.priors import WEIGHTS, Cosines, measured_scale, report, write_weights


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/fit_prior", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--embedder", required=True)
    parser.add_argument(
        "--model", help="what an endpoint is asked for: `CACHESERVER_EMBEDDER_MODEL`"
    )
    parser.add_argument("--prefix", help="`CACHESERVER_EMBEDDER_PREFIX`")
    parser.add_argument("--reference", type=Path, default=Path("var/model"), help="MiniLM's export")
    parser.add_argument(
        "--write",
        action="store_true",
        help="into prior.json beside the model; for MiniLM into matching/data/prior_weights.json",
    )
    parser.add_argument("--to", type=Path, help="the file to write instead")
    args = parser.parse_args()
    patience = {"embedder_timeout_s": 30.0} if is_url(args.embedder) else {}
    settings = Settings(
        embedder=args.embedder,
        embedder_model=args.model,
        embedder_prefix=args.prefix,
        **patience,
    )
    embedder = load(settings).embedder
    cosines = Cosines(embedder)
    if embedder.id == EMBEDDER_ID:
        fitted = report(args.data, cosines)
        if args.write:
            write_weights(fitted.weights, WEIGHTS)
        return
    reference = Cosines(load(Settings(embedder=str(args.reference))).embedder)
    scale = measured_scale(args.data, cosines, reference)
    fitted = report(args.data, cosines, scale)
    to = args.to or (Path(args.embedder) / PRIOR if args.write else None)
    if to is not None:
        write_prior(to, embedder.id, fitted, {"data": "QQP train, CheckList, generated"})
        print(f"Written to {to}: CACHESERVER_EMBEDDER_PRIOR, unless it lies beside the model")


if __name__ == "__main__":
    main()
