# title: sudo, su, runuser and setpriv by root: another user's shell
# needs: sudo su runuser setpriv
# packages: sudo util-linux
# version: su --version
# allow: ^membudget: MEMBUDGET_DIR=\S+ no block for \S+ there \(Permission denied\): only this process sees its budget$
# note: Run by root they are preloaded into. The other user's processes may not write root's block: each says so in a line (MEMBUDGET_LOG=quiet keeps it quiet) and counts for itself. sudo does not pass LD_PRELOAD on.
[[ $EUID == 0 ]] || { echo "only root can do this" >&2; exit 77; }
sudo -u nobody sh -c 'id -un; echo "${LD_PRELOAD:-none}"'
su -s /bin/sh nobody -c 'id -un; seq 20000 | sort -r | tail -n 1'
runuser -u nobody -- sh -c 'id -un; seq 20000 | sort -rn | tail -n 1'
setpriv --reuid=65534 --regid=65534 --clear-groups sh -c 'id -un; seq 20000 | md5sum'
