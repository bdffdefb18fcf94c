# eras: solaris10 illumos
FILE /etc/hostname.ip.tun0
tsrc 192.168.0.180 tdst 192.168.10.100
192.168.10.200 192.168.10.99 netmask 255.255.255.255 up
.
REBOOT
ifconfig ip.tun0
# nothing is appended: without up it stays down, except on illumos
FILE /etc/hostname.ip.tun0
tsrc 192.168.0.180 tdst 192.168.10.100
192.168.10.200 192.168.10.99 netmask 255.255.255.255
.
REBOOT
ifconfig ip.tun0
# netmasks(4) wins here too
echo 192.168.10.0 255.255.255.0 >> /etc/inet/netmasks
echo up >> /etc/hostname.ip.tun0
REBOOT
ifconfig ip.tun0
# a last line without newline is lost
printf 'tsrc 192.168.0.180 tdst 192.168.10.100 up\n192.168.10.200 192.168.10.99' > /etc/hostname.ip.tun0
REBOOT
ifconfig ip.tun0
