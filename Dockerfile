# docker build -t coincide .
# docker run --rm -v "$PWD:/data" -w /data coincide register fixed.nii.gz moving.nii.gz --out out
FROM python:3.12-slim

# the usual torch for Linux brings gigabytes of CUDA that a CPU has no use for; give as TORCH what
# PyTorch's own page names for a CPU
ARG TORCH=torch
RUN pip install --no-cache-dir $TORCH

COPY pyproject.toml README.md LICENSE /source/
COPY src /source/src
RUN pip install --no-cache-dir /source && rm -rf /source

# what is compiled is kept where any user of the image may read and add to it; for a processor other
# than that of the build it is compiled again
ENV NUMBA_CACHE_DIR=/opt/coincide
RUN mkdir -m 1777 /opt/coincide && coincide warmup && chmod -R a+rwX /opt/coincide

ENTRYPOINT ["coincide"]
CMD ["--help"]
