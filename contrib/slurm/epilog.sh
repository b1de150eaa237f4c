#!/bin/sh
# epilog.sh: remove what killed jobTree workers left on a node.
#
# A jobTree worker works in a private directory, jobtree-<16 hex digits>, below its TMPDIR or
# /tmp, and removes it at its end. One that is killed cannot. As Slurm's Epilog
#
#     Epilog=/etc/slurm/jobtree-epilog.sh        (in slurm.conf; runs as root on each node)
#
# this removes such directories of the job's user, once nothing of any job of that user, and no
# jobTree, runs on the node: until then they may be in use, and a later job's end will do.
#
# Safe: only directories of that user, of exactly such names, directly below the places listed;
# nothing is followed, no other file system entered, and it is done with the user's own rights.
# It always ends with 0: a failing epilog would drain the node.
#
# Sites with job_container/tmpfs do not need it: there, a job's /tmp goes with the job.

# Where workers work: the site file's scratch, and /tmp. Separated by blanks.
: "${JOBTREE_SCRATCH:=/tmp /var/tmp}"

uid=${SLURM_JOB_UID:-}
case $uid in
    '' | *[!0-9]* | 0) exit 0 ;; # root's are root's own business
esac
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH

# The list comes before the look at processes: what a job makes later is not on it.
hex='[0-9a-f]'
four=$hex$hex$hex$hex
left=$(
    for place in $JOBTREE_SCRATCH; do
        find "$place" -mindepth 1 -maxdepth 1 -type d -uid "$uid" \
            -name "jobtree-$four$four$four$four" 2>/dev/null
    done
)
[ -n "$left" ] || exit 0

for process in $(find /proc -mindepth 1 -maxdepth 1 -uid "$uid" -name '[0-9]*' 2>/dev/null); do
    if grep -qz '^SLURM_JOB_ID=' "$process/environ" 2>/dev/null; then exit 0; fi
    if grep -qi jobtree "$process/cmdline" 2>/dev/null; then exit 0; fi
done

gid=$(id -g "$uid" 2>/dev/null) || gid=$uid
printf '%s\n' "$left" | while IFS= read -r directory; do
    timeout 60 setpriv --reuid="$uid" --regid="$gid" --clear-groups \
        rm -rf --one-file-system -- "$directory" </dev/null >/dev/null 2>&1
done
exit 0
