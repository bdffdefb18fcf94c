# eras: fc5 el6 current
FILE /etc/sysconfig/network
NETWORKING=yes
GATEWAY=192.168.0.254
.
REBOOT
ip route show default
# not on the first address's net
FILE /etc/sysconfig/network
NETWORKING=yes
GATEWAY=10.9.9.9
.
REBOOT
ip route show default
FILE /etc/sysconfig/network
NETWORKING=yes
GATEWAY=192.168.0.254
GATEWAYDEV=eth1
.
REBOOT
ip route show default
# ifcfg is read after network
FILE /etc/sysconfig/network
NETWORKING=yes
GATEWAY=192.168.0.254
.
cp /etc/sysconfig/network-scripts/ifcfg-eth0 /tmp/eth0
echo GATEWAY=192.168.0.1 >> /etc/sysconfig/network-scripts/ifcfg-eth0
REBOOT
ip route show default
# an interface that is not brought up at boot
echo ONBOOT=no >> /etc/sysconfig/network-scripts/ifcfg-eth0
REBOOT
ip -o -4 addr show
# the network service is not enabled
cp /tmp/eth0 /etc/sysconfig/network-scripts/ifcfg-eth0
rm /etc/rc.d/rc3.d/S10network
REBOOT
ip -o -4 addr show
