# The gateway.
# BASE: any image with glibc, Python 3.11, libstdc++6 and libgomp1, by digest. `python -m infra.images build client_api` makes one of Debian packages and
# brings the wheels: nothing is fetched in here. Neither stage has pip or a compiler; uv stays in the first.
ARG BASE
FROM ${BASE} AS build
COPY infra/locks/client_api.txt /lock.txt
RUN --mount=type=bind,source=build/wheels,target=/wheels \
    python3 -m zipfile -e /wheels/uv/uv-*.whl /uv && chmod +x /uv/uv-*.data/scripts/uv && \
    python3 -m venv --without-pip /app && \
    /uv/uv-*.data/scripts/uv pip sync --python /app/bin/python --offline --no-cache --no-index --find-links /wheels/client_api \
        --require-hashes --no-build --link-mode copy --quiet /lock.txt && rm -f /app/.lock /app/lib/python3*/site-packages/*/uv_cache.json && \
    sed -i '/uv_cache\.json,/d' /app/lib/python3*/site-packages/*.dist-info/RECORD
COPY retrain/__init__.py retrain/contract.py retrain/environment.py /app/code/retrain/
COPY serving/__init__.py serving/contract.py /app/code/serving/
COPY client_api /app/code/client_api
# Bytecode that no file time can make stale: the root file system is read-only later. Some packages carry templates that are no Python: true.
RUN /app/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /app/lib/python3*/site-packages /app/code || true

FROM ${BASE}
COPY --from=build /app /app
ENV PATH=/app/bin:/usr/bin:/bin PYTHONPATH=/app/code PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp USER=ratchet
USER 65532:65532
WORKDIR /tmp
EXPOSE 8080
# The commit of all that is copied above. Last, so that nothing is made again when only it changed.
ARG REVISION=unknown
ENV CLIENT_API_REVISION=${REVISION}
CMD ["python", "-m", "client_api"]
