# eras: el6 current
FILE /etc/sysconfig/network
NETWORKING=yes
NETWORKING_IPV6=yes
IPV6_DEFAULTGW=2001:db8::1
.
echo IPV6INIT=yes >> /etc/sysconfig/network-scripts/ifcfg-eth0
echo IPV6ADDR=2001:db8::160/64 >> /etc/sysconfig/network-scripts/ifcfg-eth0
echo 'IPV6ADDR_SECONDARIES="2001:db8::161/128 2001:db8::162"' >> /etc/sysconfig/network-scripts/ifcfg-eth0
echo IPV6INIT=yes >> /etc/sysconfig/network-scripts/ifcfg-lo
echo IPV6ADDR_SECONDARIES=2001:db8::200/128 >> /etc/sysconfig/network-scripts/ifcfg-lo
REBOOT
ip -o -6 addr show
ip -6 route show default
cat /var/log/boot.log
