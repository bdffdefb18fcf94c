# eras: fc5 el6 el7 current
cat /var/log/boot.log
ip addr show
ip -o addr show
ip -o -4 addr show
ip -o link show
ip route show
ip -6 route show
sysctl net.ipv4.ip_forward net.ipv4.conf.all.rp_filter net.ipv4.conf.eth0.rp_filter net.ipv4.conf.lo.rp_filter
lsmod
cat /proc/sys/net/ipv4/conf/all/arp_ignore
cat /etc/sysconfig/network-scripts/ifcfg-eth0
