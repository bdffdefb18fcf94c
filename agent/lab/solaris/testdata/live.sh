# eras: solaris10
ifconfig lo0:1 plumb
ifconfig lo0:1 plumb
ifconfig lo0:1
ifconfig lo0:1 192.168.0.200 netmask 255.255.255.255 up
ifconfig lo0:1
ifconfig lo0 addif 192.168.0.201/32 up
ifconfig lo0:2
ifconfig lo0:2 down
ifconfig -au
ifconfig -ad4
ifconfig lo0 removeif 192.168.0.201
ifconfig lo0 removeif 192.168.0.201
ifconfig lo0:1 unplumb
ifconfig lo0:1 unplumb
ifconfig lo0:1
ifconfig lo0:1 192.168.0.200 up
# without a mask: netmasks(4), which the installer wrote for the net
ifconfig lo0:1 plumb 192.168.0.200 up
ifconfig lo0:1
ifconfig lo0:1 unplumb
ifconfig ip.tun0 plumb
ifconfig ip.tun0
ifconfig ip.tun0 inet tsrc 192.168.0.180 tdst 192.168.10.100
ifconfig ip.tun0 inet 192.168.10.200 192.168.10.99 netmask 255.255.255.255 up
ifconfig ip.tun0
netstat -rn
ifconfig ip.tun0 unplumb
ifconfig xyz0 plumb
ifconfig pcn0:1 plumb 192.168.0.181 netmask + broadcast + up
ifconfig pcn0:1
ifconfig lo0:1 plumb not-a-host
ifconfig lo0:1 plumb 192.168.0.200 frobnicate
ifconfig lo0:1 dhcp start
# several default routes side by side
route add default 192.168.0.252
route add default 192.168.0.252
route add default 192.168.0.253
route add default 10.9.9.9
netstat -rn
route -n get default
route delete default 192.168.0.252
route delete default 192.168.0.252
netstat -rn -f inet
route change default 192.168.0.252
ndd /dev/ip ip_strict_dst_multihoming
ndd -set /dev/ip ip_strict_dst_multihoming 1
ndd /dev/ip ip_strict_dst_multihoming
ndd /dev/ip no_such_thing
ipadm show-prop -p hostmodel -co current ipv4
svcadm restart network/physical
id -u
test -e /etc/hosts
REBOOT
ifconfig -a
ndd /dev/ip ip_strict_dst_multihoming
