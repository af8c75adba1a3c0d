#!/bin/busybox sh
# The guest's first program. /atoll holds what the host tool wants of it.
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null
mkdir -p /dev/pts && mount -t devpts devpts /dev/pts 2>/dev/null
hostname atoll
exec </dev/console >/dev/console 2>&1
[ -f /atoll/exec ] || exec init

# What busybox's poweroff, halt and reboot send to the first program.
trap 'poweroff -f' USR1 USR2
trap 'reboot -f' TERM
export HOME=/root PATH=/bin TERM=dumb
cd /root
nonce=$(cat /atoll/nonce)
dmesg -n 1
stty -opost -echo
printf '\036atoll:%s:begin\037' "$nonce"
sh /atoll/exec </dev/null &
wait $!
status=$?
if [ -f /atoll/get ]; then
    printf '\036atoll:%s:files\037' "$nonce"
    set --
    while IFS= read -r path; do set -- "$@" "$path"; done </atoll/get
    tar -c -C / "$@" 2>/dev/null | base64
    printf '\036atoll:%s:done\037' "$nonce"
fi
printf '\036atoll:%s:end:%d\037' "$nonce" "$status"
# stty waits until the console has sent everything.
stty sane
poweroff -f
