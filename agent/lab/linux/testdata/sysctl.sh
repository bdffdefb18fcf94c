# eras: current el7 fc5
sysctl -n net.ipv4.nonsense
sysctl -w net.ipv4.nonsense=1
sysctl -n -e net.ipv4.nonsense
sysctl -n net.ipv4.conf.all.arp_ignore
sysctl -w net.ipv4.conf.all.arp_ignore=1
sysctl -w net.ipv4.conf.all.arp_ignore=foo
sysctl -w net/ipv4/conf/eth0/rp_filter=1
sysctl -q -w net.ipv4.conf.eth0.rp_filter=2
sysctl net.ipv4.conf.lo.arp_ignore net.ipv4.conf.nix.arp_ignore
sysctl -w foo
FILE /tmp/s.conf
# c
net.ipv4.conf.all.arp_ignore = 2
; x
net.ipv4.vs.conntrack=1
net.bad
.
sysctl -p /tmp/s.conf
sysctl -e -p /tmp/s.conf
sysctl -p /tmp/nix.conf
# switching ip_forward resets what other keys were set to
sysctl -w net.ipv4.conf.eth0.forwarding=1 net.ipv4.conf.all.accept_redirects=1
sysctl -w net.ipv4.ip_forward=1
sysctl net.ipv4.conf.all.forwarding net.ipv4.conf.default.forwarding net.ipv4.conf.lo.forwarding net.ipv4.conf.all.accept_redirects
sysctl -w net.ipv4.conf.all.accept_redirects=1
sysctl -w net.ipv4.ip_forward=1
sysctl -n net.ipv4.conf.all.accept_redirects
sysctl -w net.ipv4.conf.all.forwarding=0
sysctl net.ipv4.ip_forward net.ipv4.conf.eth0.forwarding net.ipv4.conf.all.accept_redirects
# a new interface takes after conf.default
sysctl -w net.ipv4.conf.default.rp_filter=1
modprobe ipip
sysctl net.ipv4.conf.tunl0.rp_filter net.ipv4.conf.eth0.rp_filter
cat /proc/sys/net/ipv4/conf/tunl0/rp_filter
sysctl -n net.ipv4.vs.expire_nodest_conn
modprobe ip_vs
sysctl net.ipv4.vs.expire_nodest_conn
sysctl --system
