# One image for the service and its workers: `docker compose up` (docker-compose.yml) says which does what.
FROM python:3.11-slim

# git: planted-bug tasks and patches. bubblewrap: sandboxes where there is no Docker engine.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends bubblewrap git \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/trajc
# The dependencies first, as a package without modules: a change of the source does not fetch them again.
COPY LICENSE README.md pyproject.toml ./
RUN pip install --no-cache-dir .
COPY . .
RUN pip install --no-cache-dir --no-deps .

ENV TRAJC_HOME=/data
VOLUME /data
WORKDIR /data
ENTRYPOINT ["trajc"]
CMD ["serve"]
