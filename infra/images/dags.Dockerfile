# Airflow with Ratchet's DAG files. Model files come from git. The image has no credential.
# BASE: an image by digest with glibc, Python 3.11, libstdc++6 and libgomp1.
# `python -m infra.images build dags` builds one from Debian packages and provides the wheels.
# The build fetches nothing. No stage has pip or a compiler; uv stays in the first stage.
ARG BASE
FROM ${BASE} AS build
COPY infra/locks/dags.txt /lock.txt
RUN --mount=type=bind,source=build/wheels,target=/wheels \
    python3 -m zipfile -e /wheels/uv/uv-*.whl /uv && chmod +x /uv/uv-*.data/scripts/uv && \
    python3 -m venv --without-pip /app && \
    /uv/uv-*.data/scripts/uv pip sync --python /app/bin/python --offline --no-cache --no-index --find-links /wheels/dags \
        --require-hashes --no-build --link-mode copy --quiet /lock.txt && rm -f /app/.lock /app/lib/python3*/site-packages/*/uv_cache.json && \
    sed -i '/uv_cache\.json,/d' /app/lib/python3*/site-packages/*.dist-info/RECORD
COPY dags/.airflowignore dags/retrain_dags.py /app/dags/
COPY dags/ratchet_tasks /app/dags/ratchet_tasks
COPY infra/images/airflow /app/airflow
# Bytecode whose validity does not depend on file times: the root file system is read-only later.
# `true`: some packages contain templates that are not Python.
RUN /app/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /app/lib/python3*/site-packages || true

FROM ${BASE}
COPY --from=build /app /app
ENV PATH=/app/bin:/usr/bin:/bin PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp USER=ratchet
USER 65532:65532
WORKDIR /tmp
ENV PYTHONPATH=/app/airflow AIRFLOW_HOME=/tmp/airflow AIRFLOW__CORE__DAGS_FOLDER=/app/dags AIRFLOW__CORE__LOAD_EXAMPLES=False AIRFLOW__USAGE_DATA_COLLECTION__ENABLED=False
EXPOSE 8080
ENTRYPOINT ["airflow"]
CMD ["scheduler"]
