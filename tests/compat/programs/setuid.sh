# title: sudo and su, as an ordinary user: set-uid programs
# needs: sudo su
# packages: sudo util-linux
# version: sudo --version
# user: ordinary
# uncounted: sudo su
# note: The dynamic linker takes the library out of a set-uid program and of its environment: it and what it starts run uncounted.
# quick: yes
sudo --version | head -n 1
sudo -n true 2>&1 | head -n 1 || true
sudo -k 2>&1 || echo "status $?"
su --version
echo wrong | su nobody -c true > /dev/null 2>&1 || echo "su: $?"
passwd --status nobody 2>&1 | cut -d' ' -f1 || true
mount > /dev/null && echo mount
sh -c 'seq 2; id -u > /dev/null'
