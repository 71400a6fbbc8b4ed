# dgafvsr in a container; docs/docker.md says how it is built and run.

FROM python:3.12.11-slim-bookworm AS build

# cuda: torch as the registry has it, for NVIDIA GPUs and for processors. cpu: the smaller builds for processors alone,
# which the registry that pip.conf (the secret `pip`) names must have.
ARG DEVICE=cuda
# Extras of pyproject.toml, separated by commas.
ARG EXTRAS=sdx4
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_CONSTRAINT=/build/constraints.txt

WORKDIR /build
COPY constraints.txt pinned.txt
RUN case "$DEVICE" in \
        cuda) cp pinned.txt constraints.txt ;; \
        cpu) sed -E 's/^(torch|torchvision)==.*/&+cpu/' pinned.txt > constraints.txt ;; \
        *) echo "DEVICE is cuda or cpu, got $DEVICE" >&2; exit 1 ;; \
    esac

# torch is most of the image: a layer of its own, which a change of the source does not touch.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python -m venv /opt/dgafvsr \
    && /opt/dgafvsr/bin/pip install torch torchvision

COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    /opt/dgafvsr/bin/pip install ".[$EXTRAS]"


FROM python:3.12.11-slim-bookworm

LABEL org.opencontainers.image.title="dgafvsr" \
      org.opencontainers.image.description="Video super-resolution by latent diffusion with guidance from aligned features" \
      org.opencontainers.image.licenses="Apache-2.0"

# Both folders are open to all, as /tmp is, so that `docker run --user` may name any user.
RUN useradd --uid 10001 --no-create-home --home-dir /cache dgafvsr \
    && install --directory --mode 1777 /cache /films
COPY --from=build /opt/dgafvsr /opt/dgafvsr

# USER is for libraries that ask for the name of a user whom the image does not know.
ENV PATH=/opt/dgafvsr/bin:$PATH \
    HOME=/cache \
    USER=dgafvsr

WORKDIR /films
USER 10001
ENTRYPOINT ["dgafvsr"]
CMD ["--help"]
