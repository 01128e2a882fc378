# Two stages: torch makes the model in the first and stays there.
#
#   docker build -t cacheserver .
#   docker run --rm -v cacheserver:/data cacheserver key create --tenant my-team
#   docker run -p 8080:8080 -v cacheserver:/data -e ANTHROPIC_API_KEY cacheserver
#
# Another embedding model: mount the folder of its export and set CACHESERVER_EMBEDDER to it.
# The key comes first: off loopback, a server that knows no key refuses to start.

FROM python:3.11-slim AS build
# Give PyTorch's CPU index here (pytorch.org, "Get started"), or the plain build brings CUDA along.
ARG PIP_EXTRA_INDEX_URL=
WORKDIR /build
RUN python -m venv /models && /models/bin/pip install --no-cache-dir torch==2.13.0
COPY . .
RUN /models/bin/pip install --no-cache-dir '.[server,models]' \
    && /models/bin/python -m cacheserver.index.export --to /model
RUN python -m venv /app && /app/bin/pip install --no-cache-dir '.[server,otel]'

FROM python:3.11-slim
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin cacheserver \
    && install -d -m 0700 -o cacheserver -g cacheserver /data
COPY --from=build /app /app
COPY --from=build /model /model
ENV PATH=/app/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    CACHESERVER_HOST=0.0.0.0 \
    CACHESERVER_PORT=8080 \
    CACHESERVER_DATA_DIR=/data \
    CACHESERVER_MODEL_DIR=/model
USER cacheserver
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s CMD ["python", "-c", \
    "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['CACHESERVER_PORT'] + '/healthz', timeout=2)"]
ENTRYPOINT ["cacheserver"]
CMD ["serve"]
