# The `retrain` command, one pod per task. Airflow hands over the model file.
# BASE: an image by digest with glibc, Python 3.11, libstdc++6 and libgomp1.
# `python -m infra.images build retrain` builds one from Debian packages and provides the wheels.
# The build fetches nothing. No stage has pip or a compiler; uv stays in the first stage.
ARG BASE
FROM ${BASE} AS build
COPY infra/locks/retrain.txt /lock.txt
RUN --mount=type=bind,source=build/wheels,target=/wheels \
    python3 -m zipfile -e /wheels/uv/uv-*.whl /uv && chmod +x /uv/uv-*.data/scripts/uv && \
    python3 -m venv --without-pip /app && \
    /uv/uv-*.data/scripts/uv pip sync --python /app/bin/python --offline --no-cache --no-index --find-links /wheels/retrain \
        --require-hashes --no-build --link-mode copy --quiet /lock.txt && rm -f /app/.lock /app/lib/python3*/site-packages/*/uv_cache.json && \
    sed -i '/uv_cache\.json,/d' /app/lib/python3*/site-packages/*.dist-info/RECORD
COPY retrain /app/code/retrain
COPY infra/locks/retrain.txt /app/lock.txt
RUN printf "#!/app/bin/python\nfrom retrain.cli import app\n\nif __name__ == '__main__':\n    app()\n" > /app/bin/retrain && chmod 755 /app/bin/retrain
# Bytecode whose validity does not depend on file times: the root file system is read-only later.
# `true`: some packages contain templates that are not Python.
RUN /app/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /app/lib/python3*/site-packages /app/code || true

FROM ${BASE}
COPY --from=build /app /app
ENV PATH=/app/bin:/usr/bin:/bin PYTHONPATH=/app/code PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp USER=ratchet
USER 65532:65532
WORKDIR /tmp
# The lock is part of a run's identity: another lock gives another run.
ENV RETRAIN_LOCK=/app/lock.txt
# The commit of the copied files. Last, so that a new commit alone repeats no earlier step.
ARG REVISION=unknown
ENV RETRAIN_GIT_REVISION=${REVISION}
ENTRYPOINT ["retrain"]
