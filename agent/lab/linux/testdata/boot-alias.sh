# eras: fc5 el6 current
FILE /etc/sysconfig/network-scripts/ifcfg-lo:0
DEVICE=lo:0
IPADDR=192.168.0.200
NETMASK=255.255.255.255
NO_ALIASROUTING=yes
.
# a missing mask is inherited from ifcfg-lo
FILE /etc/sysconfig/network-scripts/ifcfg-lo:1
DEVICE=lo:1
IPADDR=192.168.0.201
.
FILE /etc/sysconfig/network-scripts/ifcfg-lo:2
DEVICE=lo:2
IPADDR=192.168.0.202
NETMASK=255.255.255.255
ONPARENT=no
.
# ONBOOT does not count for an alias
FILE /etc/sysconfig/network-scripts/ifcfg-lo:3
DEVICE=lo:3
IPADDR="192.168.0.203"
NETMASK='255.255.255.255'
ONBOOT=no
.
# passed over
FILE /etc/sysconfig/network-scripts/ifcfg-lo:4.bak
DEVICE=lo:4
IPADDR=192.168.0.204
NETMASK=255.255.255.255
.
# typographic quotes are part of the value
FILE /etc/sysconfig/network-scripts/ifcfg-lo:5
DEVICE=lo:5
IPADDR=“192.168.0.205”
NETMASK=255.255.255.255
.
FILE /etc/sysconfig/network-scripts/ifcfg-eth0:0
DEVICE=eth0:0
IPADDR=192.168.0.206
NETMASK=255.255.255.255
.
REBOOT
ip -o -4 addr show
cat /var/log/boot.log
