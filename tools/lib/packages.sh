# shellcheck shell=bash
# Debian packages that a script needs: installed when missing, and said so.

as_root() {
  if ((EUID == 0)); then "$@"; else sudo "$@"; fi
}

installed() { [[ $(dpkg-query -W -f='${Status}' "$1" 2>/dev/null) == 'install ok installed' ]]; }

# The package lists are refreshed only when an installation fails without that.
need_packages() {
  local package missing=() log
  for package in "$@"; do installed "$package" || missing+=("$package"); done
  ((${#missing[@]})) || return 0
  printf 'installing Debian packages: %s\n' "${missing[*]}"
  log=$(mktemp)
  if ! apt_install "${missing[@]}" >"$log" 2>&1; then
    if ! { as_root apt-get update && apt_install "${missing[@]}"; } >"$log" 2>&1; then
      tail -n 15 "$log" >&2
      rm -f "$log"
      printf 'FAILED: apt-get could not install %s\n' "${missing[*]}" >&2
      exit 1
    fi
  fi
  rm -f "$log"
}

apt_install() {
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=120 "$@"
}
