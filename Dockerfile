# A machine for development: docker build -t polycache . && docker run -it -v "$PWD:/polycache" polycache
FROM debian:12
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates clang clang-format-14 \
      clang-tidy-14 ccache cmake g++ gdb git libboost-dev libboost-program-options-dev libcpp-httplib-dev \
      libgmock-dev libgtest-dev libhiredis-dev liblz4-dev libmemcached-dev libsasl2-modules libsodium-dev \
      libsqlite3-dev libssl-dev libzstd-dev memcached mold ninja-build nlohmann-json3-dev pkg-config \
      python3 python3-jsonschema redis-server sqlite3 zlib1g-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /polycache
CMD ["scripts/test"]
