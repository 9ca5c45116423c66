# shellcheck shell=bash disable=SC2154  # common.sh sets what is not set here
# Debian's own kernel with its nbd driver in an emulated machine (TCG: no hardware virtualisation is needed), with
# busybox, nbd-client, qemu-nbd and a tree of real files in its initramfs. The host's loopback is 10.0.2.2 from inside.

# shellcheck disable=SC2034  # used by the scripts that source this
guest_packages=(qemu-system-x86 qemu-utils busybox-static cpio nbd-client e2fsprogs iproute2)
guest_programs=(nbd-client qemu-nbd mkfs.ext4 e2fsck)
guest_cache=$top/.build-guest

# What the virtual network card and the nbd driver need, in load order; ext4 is built in.
guest_modules=(libcrc32c virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci failover net_failover
  virtio_net nbd)

# prepare_guest: fetches the kernel and packs the initramfs, once; both stay in the cache.
prepare_guest() {
  local package deb root module file
  if [[ -s $guest_cache/vmlinuz && -s $guest_cache/initramfs.gz && -s $guest_cache/manifest ]] &&
    write_guest_init | cmp -s - "$guest_cache/init"; then return; fi
  mkdir -p "$guest_cache"
  root=$work/guest-root
  mkdir -p "$root"/{bin,sbin,dev,proc,sys,mnt,lib/modules,tmp,tree,var/lock} "$work/kernel"
  package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | awk '/Depends: linux-image-/ { print $2; exit }')
  if [[ -z $package ]]; then
    as_root apt-get update >/dev/null
    package=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image-/ { print $2; exit }')
  fi
  say "fetching Debian's kernel: $package"
  (cd "$work/kernel" && apt-get download -q "$package") >"$work/log/guest-kernel.log" 2>&1 ||
    fail "apt-get download $package"
  deb=$(echo "$work/kernel/"*.deb)
  dpkg -x "$deb" "$work/kernel/tree"
  for module in "${guest_modules[@]}"; do
    file=$(find "$work/kernel/tree/lib/modules" -name "$module.ko" -print -quit)
    # What is not there is built in.
    [[ -z $file ]] || cp "$file" "$root/lib/modules/"
  done
  [[ -e $root/lib/modules/nbd.ko ]] || fail "$package has no nbd driver"

  cp "$(command -v busybox)" "$root/bin/busybox"
  for file in "${guest_programs[@]}"; do copy_program "$(command -v "$file")" "$root"; done
  # The tree: the drivers, headers of them and documents of the kernel package, as real as files get.
  (cd "$work/kernel/tree" && find . -type f \( -path '*/fs/*' -o -path '*/net/*' -o -path './usr/share/*' \) -print0 |
    LC_ALL=C sort -z | cpio -0pdm --quiet "$root/tree")
  (cd "$root/tree" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum) >"$root/manifest"
  (($(wc -l <"$root/manifest") >= 200)) || fail "too few files for a tree: $(wc -l <"$root/manifest")"
  write_guest_init >"$root/init"
  chmod +x "$root/init"
  (cd "$root" && find . -print0 | LC_ALL=C sort -z | cpio -0o -H newc --quiet | gzip -1) >"$guest_cache/initramfs.tmp"
  mv "$guest_cache/initramfs.tmp" "$guest_cache/initramfs.gz"
  cp "$work/kernel/tree/boot/"vmlinuz-* "$guest_cache/vmlinuz"
  cp "$root/manifest" "$guest_cache/manifest"
  cp "$root/init" "$guest_cache/init"
  rm -rf "$work/kernel" "$root"
}

copy_program() {
  local library
  mkdir -p "$2$(dirname "$1")"
  cp -L "$1" "$2$1"
  ldd "$1" | grep -o '/[^ ]*' | while read -r library; do
    mkdir -p "$2$(dirname "$library")"
    cp -L "$library" "$2$library"
  done
}

# The first program in the guest: drivers, network, then /work.sh, which the caller supplies with each boot. Its last
# word on the console is what run_guest waits for. The list of programs is in it so that a cache without one is noticed.
write_guest_init() {
  cat <<INIT
#!/bin/busybox sh
# with ${guest_programs[*]}
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in ${guest_modules[*]}; do
  [ ! -e /lib/modules/\$module.ko ] || insmod /lib/modules/\$module.ko || echo "guest: no \$module"
done
ip link set lo up
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
if sh -eu /work.sh; then echo "guest: passed"; else echo "guest: failed"; fi
poweroff -f
INIT
}

# run_guest NAME SECONDS SCRIPT: boots, runs the script (its text) in the guest, and fails unless it passes.
run_guest() {
  local name=$1 seconds=$2
  start_guest "$1" "$3"
  await_guest "$name" "$seconds"
}

# start_guest NAME SCRIPT: boots and returns; the console is the log of process NAME.
start_guest() {
  local name=$1 overlay=$work/guest.$1
  mkdir -p "$overlay"
  printf '%s\n' "$2" >"$overlay/work.sh"
  { cat "$guest_cache/initramfs.gz" && (cd "$overlay" && echo work.sh | cpio -o -H newc --quiet | gzip -1); } >"$overlay.gz"
  spawn "$name" qemu-system-x86_64 -accel tcg,thread=multi -smp 2 -cpu max -m 768 -kernel "$guest_cache/vmlinuz" \
    -initrd "$overlay.gz" -append "console=ttyS0 panic=-1 quiet" -nographic -no-reboot -nic user,model=virtio-net-pci
}

await_guest() {
  wait_until "$2" "the guest to finish $1" stopped "$1"
  wait "${pid_of[$1]}" || fail "qemu ended with $? in $1"
  forget "$1"
  grep -q '^guest: passed' "${log_of[$1]}" || {
    tail -n 25 "${log_of[$1]}" >&2
    fail "the guest failed in $1"
  }
}

# What await_guest then tells of a guest that has ended is why.
guest_reached() { guest_says "$@" || stopped "$1"; }

guest_says() { grep -q "^guest: $2" "${log_of[$1]}"; }

# The two halves of the classic proof, as guest scripts: write a tree to a new file system; find it whole again.
guest_connect() { printf 'nbd-client -N rbd/%s 10.0.2.2 %s /dev/nbd0 %s\n' "$1" "${nbd_addr#*:}" "${2:-}"; }

# guest_connect_patiently IMAGE: through qemu-nbd, which holds the kernel's end of the device for as long as it runs, and
# connects again when the gateway went away.
guest_connect_patiently() {
  local options="driver=raw,file.driver=nbd,file.server.type=inet,file.server.host=10.0.2.2,file.server.port=${nbd_addr#*:}"
  printf 'qemu-nbd --fork --connect=/dev/nbd0 --cache=none --discard=unmap --image-opts %s,file.export=rbd/%s,file.reconnect-delay=300\n' \
    "$options" "$1"
  printf 'until [ "$(cat /sys/block/nbd0/size)" -gt 0 ]; do usleep 100000; done\n'
}

# guest_fill IMAGE [END]: END is what happens once all is copied: umount (default), or only sync.
guest_fill() {
  guest_connect "$1"
  cat <<'SCRIPT'
mkfs.ext4 -q /dev/nbd0
mount -t ext4 /dev/nbd0 /mnt
cp -a /tree /mnt/tree
(cd /mnt/tree && sha256sum -c /manifest >/dev/null)
sync
echo "guest: synced"
SCRIPT
  if [[ ${2:-umount} == umount ]]; then printf 'umount /mnt\nnbd-client -d /dev/nbd0\n'; else printf 'while :; do sleep 1; done\n'; fi
}

# guest_check IMAGE: the tree of an image that was unmounted.
guest_check() {
  guest_connect "$1"
  printf 'e2fsck -f -n /dev/nbd0\n'
  guest_compare
}

# guest_check_after_cut IMAGE: ext4 replays its journal first, as at any boot; then nothing may be left to repair.
guest_check_after_cut() {
  guest_connect "$1"
  printf 'mount -t ext4 /dev/nbd0 /mnt\numount /mnt\ne2fsck -f -n /dev/nbd0\n'
  guest_compare
}

guest_compare() {
  cat <<'SCRIPT'
mount -t ext4 /dev/nbd0 /mnt
(cd /mnt/tree && sha256sum -c /manifest >/dev/null)
echo "guest: $(find /mnt/tree -type f | wc -l) files have their checksums"
umount /mnt
nbd-client -d /dev/nbd0
SCRIPT
}
