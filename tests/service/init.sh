#!/bin/sh
# The first process of the namespaces of run.sh: an own /run, /home, /var/log, /etc/passwd and unit directory, one cgroup tree of
# version 2, then a real systemd. Nothing of the machine outside is written. $1: directory of the test; with openclaw.deb in it
# what a package writes to is a copy.
set -e
work=$1
mount --make-rprivate /
mount -t tmpfs tmpfs /run
if [ -e "$work/openclaw.deb" ]; then
  for directory in usr etc var/lib; do
    over=/run/over/$directory
    mkdir -p "$over/new" "$over/work"
    mount -t overlay overlay -o "lowerdir=/$directory,upperdir=$over/new,workdir=$over/work" "/$directory"
  done
  cp "$work/openclaw.deb" /run/openclaw.deb
  # A container's word that no package starts or stops anything is not this machine's.
  rm -f /usr/sbin/policy-rc.d
fi
mount -t tmpfs tmpfs /home
mount -t tmpfs tmpfs /var/log
mount -t tmpfs tmpfs /var/lib/systemd
mount -t tmpfs tmpfs /etc/systemd/system
umount -R /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up

mkdir -p /run/lock /run/user/4711 /home/openclaw-test/bin
for list in passwd group; do cp /etc/$list "$work/$list"; done
echo 'openclaw-test:x:4711:4711::/home/openclaw-test:/bin/sh' >> "$work/passwd"
echo 'openclaw-test:x:4711:' >> "$work/group"
for list in passwd group; do
  # A package adds an account, which replaces the file.
  if [ -e /run/openclaw.deb ]; then cp "$work/$list" /etc/$list; else mount --bind "$work/$list" /etc/$list; fi
done
cp "$work/openclaw" /home/openclaw-test/bin/openclaw
chown -R 4711:4711 /home/openclaw-test /run/user/4711
chmod 700 /run/user/4711

# sysinit and basic are empty here: the machine's own would clean /tmp, set kernel parameters and start its daemons.
for target in minimal sysinit basic network-online multi-user timers paths sockets; do
  printf '[Unit]\nDescription=%s\nDefaultDependencies=no\n' $target > /etc/systemd/system/$target.target
done
cat > /etc/systemd/system/user-manager.service <<'UNIT'
[Unit]
DefaultDependencies=no
[Service]
Type=notify
User=openclaw-test
Environment=HOME=/home/openclaw-test XDG_RUNTIME_DIR=/run/user/4711
ExecStart=/usr/lib/systemd/systemd --user
Delegate=yes
KillMode=mixed
UNIT
# Whatever is started here sees a /tmp and a /var of its own, and cannot write the machine's files.
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /var/tmp
mount -o remount,bind,ro / || exit 1
export container=openclaw-test
exec /usr/lib/systemd/systemd --system --unit=minimal.target --log-target=console --show-status=no
