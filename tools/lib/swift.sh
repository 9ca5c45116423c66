# shellcheck shell=bash
# How the project is built. `swift build` and `swift test` share one build only if both get the same flags, and only if
# the tests need no -enable-testing (they use `package` access): then nothing is compiled twice.
# shellcheck disable=SC2034  # used by the scripts that source this

build_packages=(liburing-dev librocksdb-dev pkg-config)
build_flags=(-c release)
test_flags=("${build_flags[@]}" --disable-testable-imports)
