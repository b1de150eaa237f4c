#!/bin/sh
# Makes the trees kept here by the jobTree of a checkout:  make.sh CHECKOUT   (as root, on Linux).
# Those here are of commit aef75bb, the last before jobTree's modules were moved into rooms.
#
# Everything runs in namespaces of its own: a host called "kept" with a machine id, a boot id and
# processes that are no real machine's; in an environment of a few variables, under /tmp/jobtree-kept.
# The half-finished tree is left as by a machine that fails: master, workers and steps are killed at
# one moment, the master being stopped since before a step ended that it has thus not heard of.
set -eu

if [ "${1-}" != --inside ]; then
    checkout=$(cd "$1" && pwd) data=$(cd "$(dirname "$0")" && pwd)
    rm -rf /tmp/jobtree-kept
    mkdir -m 700 /tmp/jobtree-kept
    cd /tmp/jobtree-kept
    psutil=$("$checkout/.venv/bin/python" -c 'import psutil; print(psutil.__path__[0])')
    cp -r "$checkout/jobtree" "$checkout/batchsystems" "$psutil" .
    cp "$data/../../integration/workflows/kept.py" "$data/make.sh" .
    echo 11111111-2222-3333-4444-555555555555 >boot
    echo 0123456789abcdef0123456789abcdef >machine
    for which in finished half; do
        env -i PATH=/usr/bin:/bin HOME=/tmp/jobtree-kept TMPDIR=/tmp/jobtree-kept LANG=C.UTF-8 TZ=UTC \
            PYTHONPATH=/tmp/jobtree-kept PYTHONDONTWRITEBYTECODE=1 \
            unshare -m -u -p -f --kill-child --mount-proc sh make.sh --inside $which || :
        tar -C $which --sort=name --owner=0 --group=0 --numeric-owner -cf - . | gzip -9n >"$data/$which.tar.gz"
    done
    exit
fi

mount --bind boot /proc/sys/kernel/random/boot_id
mount --bind machine /etc/machine-id
mount -t tmpfs none /sys/fs/cgroup
hostname kept
mkdir -m 700 "$2"
cd "$2"
[ "$2" = half ] || touch go late input
/usr/bin/python3 -S ../kept.py --jobTree tree --maxCpus 4 --defaultMemory 64M >"../$2.log" 2>&1 &
master=$!
if [ "$2" = finished ]; then
    wait $master
    exit
fi
until [ -e chain-2.begun ] && [ $(ls ./*.begun | wc -l) = 5 ]; do # of which chain-1 is over
    kill -0 $master
    sleep 0.05
done
sleep 3 # until all that has happened is committed
kill -STOP $master
touch late
until [ -e chain-3.begun ]; do sleep 0.05; done
rm late
kill -KILL -1 # all but this shell, the first process of its namespace
