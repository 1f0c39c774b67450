# The two images of headrace:
#     docker build --target runtime  --tag headrace/runtime:0.1.0 .      what runs flows: the SDK and nothing else
#     docker build --target operator --tag headrace/operator:0.1.0 .     the operator
# docs/images.md tells the arguments, how to build where no registry can be reached, and how to get the same bytes again.
# tests/e2e/images runs this file without Docker; it knows the instructions used here and no others.
ARG BASE_IMAGE=python:3.13-slim

FROM ${BASE_IMAGE} AS source
WORKDIR /src
# Packages for a build without a registry; LICENSE stands beside them because the folder need not be there.
COPY LICENSE wheel[s] /wheels/
COPY images ./images
COPY pyproject.toml README.md LICENSE constraints.txt ./

# What we depend on changes seldom, and is kept from build to build. All of it goes to /out, which the images take as one layer.
FROM source AS packages-runtime
ARG EXTRAS=
ARG PIP_NO_INDEX=
ARG SOURCE_DATE_EPOCH=0
RUN sh images/install.sh packages "${EXTRAS}"

FROM source AS packages-operator
ARG PIP_NO_INDEX=
ARG SOURCE_DATE_EPOCH=0
RUN sh images/install.sh packages operator,sql

FROM packages-runtime AS installed-runtime
ARG PIP_NO_INDEX=
ARG SOURCE_DATE_EPOCH=0
COPY sdk ./sdk
COPY operator ./operator
RUN sh images/install.sh project

FROM packages-operator AS installed-operator
ARG PIP_NO_INDEX=
ARG SOURCE_DATE_EPOCH=0
COPY sdk ./sdk
COPY operator ./operator
RUN sh images/install.sh project

FROM ${BASE_IMAGE} AS runtime
COPY --from=installed-runtime /out/ /
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
# A number, because `runAsNonRoot` cannot tell who a name is.
USER 65532:65532
WORKDIR /tmp
CMD ["python3"]

FROM ${BASE_IMAGE} AS operator
COPY --from=installed-operator /out/ /
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
USER 65532:65532
WORKDIR /tmp
EXPOSE 8080 9090
ENTRYPOINT ["python3", "-m", "headrace_operator"]
