# shellcheck shell=bash
# What every section of tools/interop begins with: the shared functions, a work directory and a running cluster.
set -euo pipefail
lib=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tools/lib/common.sh
source "$lib/common.sh"
# shellcheck source=tools/lib/cluster.sh
source "$lib/cluster.sh"
# shellcheck source=tools/lib/mounts.sh
source "$lib/mounts.sh"

# begin_section NAME [OSDS]
begin_section() {
  start_work "$1"
  cd "$work" # fio leaves files where it runs
  define_cluster "$work/cluster" "${2:-3}"
  mkdir -p "$cluster"
  start_cluster
}

# image NAME SIZE: creates an image; the answer is in $uri.
image() {
  rbd create --size "$2" "rbd/$1"
  # shellcheck disable=SC2034  # used by the sections
  uri=$(nbd_uri "$1")
}
