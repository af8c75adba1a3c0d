#!/bin/sh
# The guest's interactive shell, as busybox's init starts it: on the console, with job control.
export HOME=/root PATH=/bin TERM=$(cat /atoll/term 2>/dev/null || echo vt100)
cd /root
dmesg -n 4
[ -f /atoll/size ] && stty $(cat /atoll/size)
echo
echo "This is Linux $(uname -r). 'poweroff' or Ctrl-D ends it, 'reboot' boots it again; Ctrl-A h: help."
setsid cttyhack sh
stty sane
poweroff -f
