# MLflow's server; store and artifacts by MLFLOW_BACKEND_STORE_URI and MLFLOW_ARTIFACTS_DESTINATION.
# BASE: any image with glibc, Python 3.11, libstdc++6 and libgomp1, by digest. `python -m infra.images build mlflow` makes one of Debian packages and
# brings the wheels: nothing is fetched in here. Neither stage has pip or a compiler; uv stays in the first.
ARG BASE
FROM ${BASE} AS build
COPY infra/locks/mlflow.txt /lock.txt
RUN --mount=type=bind,source=build/wheels,target=/wheels \
    python3 -m zipfile -e /wheels/uv/uv-*.whl /uv && chmod +x /uv/uv-*.data/scripts/uv && \
    python3 -m venv --without-pip /app && \
    /uv/uv-*.data/scripts/uv pip sync --python /app/bin/python --offline --no-cache --no-index --find-links /wheels/mlflow \
        --require-hashes --no-build --link-mode copy --quiet /lock.txt && rm -f /app/.lock /app/lib/python3*/site-packages/*/uv_cache.json && \
    sed -i '/uv_cache\.json,/d' /app/lib/python3*/site-packages/*.dist-info/RECORD
# Bytecode that no file time can make stale: the root file system is read-only later. Some packages carry templates that are no Python: true.
RUN /app/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /app/lib/python3*/site-packages || true

FROM ${BASE}
COPY --from=build /app /app
ENV PATH=/app/bin:/usr/bin:/bin PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp USER=ratchet
USER 65532:65532
WORKDIR /tmp
ENV MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
EXPOSE 5000
CMD ["mlflow", "server", "--host", "0.0.0.0", "--port", "5000", "--workers", "2"]
