# eras: current el6 fc5
modprobe nonsense
modprobe -q nonsense
modprobe ip_vs_wlc
modprobe ip_vs_mh
lsmod
cat /proc/modules
ip -o link show
modprobe ipip
ip -o link show
ip addr add 192.168.10.200/32 dev tunl0
ip link set tunl0 up
ip addr show dev tunl0
ip tunnel show
ip tunnel add lvs0 mode ipip local 192.168.0.160 remote 192.168.10.100
ip tunnel add lvs0 mode ipip local 192.168.0.160 remote 192.168.10.101
ip tunnel add lvs1 mode ipip local 192.168.0.160 remote 192.168.10.100
ip link show lvs0
ip tunnel show lvs0
ip tunnel show lvs1
ip tunnel del tunl0
ip tunnel del lvs0
ip tunnel del lvs0
ip link show lvs0
chkconfig --list network
chkconfig --list ipvsadm
systemctl is-enabled ipvsadm
systemctl cat ipvsadm
systemctl start ipvsadm
