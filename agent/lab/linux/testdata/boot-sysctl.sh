# eras: fc5 el6 el7 current
echo net.ipv4.conf.all.arp_ignore = 3 >> /etc/sysctl.conf
mkdir -p /etc/sysctl.d
# systemd goes by the file's name: 99-sysctl.conf leads to sysctl.conf
echo net.ipv4.conf.all.arp_ignore = 1 > /etc/sysctl.d/99-lvsfleet.conf
REBOOT
sysctl -n net.ipv4.conf.all.arp_ignore
mv /etc/sysctl.d/99-lvsfleet.conf /etc/sysctl.d/99-zz-lvsfleet.conf
REBOOT
sysctl -n net.ipv4.conf.all.arp_ignore
# EL6 takes every file, systemd those that end in .conf
echo net.ipv4.conf.all.arp_ignore = 8 > /etc/sysctl.d/zzz
REBOOT
sysctl -n net.ipv4.conf.all.arp_ignore
# a switch of ip_forward takes accept_redirects with it, whatever stood before
echo net.ipv4.conf.all.accept_redirects = 1 > /etc/sysctl.conf
echo net.ipv4.ip_forward = 1 >> /etc/sysctl.conf
REBOOT
sysctl net.ipv4.ip_forward net.ipv4.conf.all.accept_redirects net.ipv4.conf.eth0.forwarding
# keys of ip_vs want the module first
echo net.ipv4.vs.expire_nodest_conn = 1 > /etc/sysctl.conf
REBOOT
sysctl -n net.ipv4.vs.expire_nodest_conn
mkdir -p /etc/modules-load.d /etc/sysconfig/modules
echo ip_vs > /etc/modules-load.d/ipvs.conf
echo modprobe ip_vs > /etc/sysconfig/modules/ipvs.modules
chmod 755 /etc/sysconfig/modules/ipvs.modules
REBOOT
sysctl -n net.ipv4.vs.expire_nodest_conn
# udev sets an interface's own keys when it appears later
echo net.ipv4.conf.tunl0.rp_filter = 2 > /etc/sysctl.conf
REBOOT
modprobe ipip
sysctl -n net.ipv4.conf.tunl0.rp_filter
