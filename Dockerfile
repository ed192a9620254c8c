# For those who build with Docker; `make images` needs none. One file for manager, sidecar and issuer:
#
#   docker build --build-arg PROGRAM=sidecar --tag ghcr.io/latchkey-dev/latchkey-sidecar:dev .
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG PROGRAM TARGETOS TARGETARCH
RUN build() { CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -buildvcs=false -ldflags '-s -w' -o "/programs/$1" "./cmd/$2"; } && \
    build program "${PROGRAM:?name it with --build-arg PROGRAM=manager, sidecar or issuer}" && \
    # The init container of injected pods starts another program of the sidecar's image.
    if [ "$PROGRAM" = sidecar ]; then build latchkey-redirect redirect; fi

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /programs/ /
# By number, so that the kubelet's runAsNonRoot can tell that it is not root.
USER 65532:65532
ENTRYPOINT ["/program"]
