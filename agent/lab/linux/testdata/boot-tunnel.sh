# eras: fc5 el6 current
FILE /etc/sysconfig/network-scripts/ifcfg-tunl0
DEVICE=tunl0
IPADDR=192.168.10.200
NETMASK=255.255.255.255
ONBOOT=yes
NOZEROCONF=yes
.
REBOOT
# the device is not there yet
cat /var/log/boot.log
ip -o -4 addr show
# FC5 asks modprobe for the device, which knows it by an alias; later ones do not
echo alias tunl0 ipip >> /etc/modprobe.conf
REBOOT
cat /var/log/boot.log
ip -o -4 addr show
rm /etc/modprobe.conf
FILE /etc/modules-load.d/lvsfleet.conf
# comment
ipip
.
FILE /etc/sysconfig/modules/lvsfleet.modules
#!/bin/sh
modprobe ipip >/dev/null 2>&1
.
chmod 755 /etc/sysconfig/modules/lvsfleet.modules
echo net.ipv4.conf.tunl0.rp_filter = 2 >> /etc/sysctl.conf
REBOOT
cat /var/log/boot.log
ip -o -4 addr show
sysctl net.ipv4.conf.tunl0.rp_filter
ip route
# without NOZEROCONF 169.254/16 goes into the tunnel
FILE /etc/sysconfig/network-scripts/ifcfg-tunl0
DEVICE=tunl0
IPADDR=192.168.10.200
NETMASK=255.255.255.255
ONBOOT=yes
.
REBOOT
ip route
# TYPE=IPIP came after FC5, and does not take tunl0
FILE /etc/sysconfig/network-scripts/ifcfg-tunl0
DEVICE=tunl0
TYPE=IPIP
MY_INNER_IPADDR=192.168.10.200/32
ONBOOT=yes
.
FILE /etc/sysconfig/network-scripts/ifcfg-lvs0
DEVICE=lvs0
TYPE=IPIP
MY_INNER_IPADDR=192.168.10.200/32
MY_OUTER_IPADDR=192.168.0.160
PEER_OUTER_IPADDR=192.168.10.100
ONBOOT=yes
.
REBOOT
cat /var/log/boot.log
ip -o -4 addr show
ip tunnel show
