# eras: solaris10 illumos
# one line: the traditional epilogue brings it up; but the net stands in netmasks(4), which wins
echo 192.168.0.200/32 > /etc/hostname.lo0:1
REBOOT
ifconfig lo0:1
# with an entry of its own the mask stays
echo 192.168.0.200 255.255.255.255 >> /etc/inet/netmasks
REBOOT
ifconfig lo0:1
# an address of a net that is not listed needs no entry
echo 10.9.9.9/32 > /etc/hostname.lo0:2
REBOOT
ifconfig lo0:2
# two lines: nothing is appended, so it stays down
printf '10.9.9.9/32\n\n' > /etc/hostname.lo0:2
REBOOT
ifconfig lo0:2
# a blank line at the start matters to illumos alone
printf '\n10.9.9.9/32\n' > /etc/hostname.lo0:2
REBOOT
ifconfig lo0:2
# two lines that say all
printf '10.9.9.9 netmask 255.255.255.255\nup\n' > /etc/hostname.lo0:2
REBOOT
ifconfig lo0:2
# a comment
printf '# the VIP\n10.9.9.9/32\n' > /etc/hostname.lo0:2
REBOOT
ifconfig lo0:2
cat /var/log/boot.log
# no newline at the end: the line is lost
printf '10.9.9.9/32' > /etc/hostname.lo0:2
REBOOT
ifconfig lo0:2
# a name, resolved by /etc/hosts
echo vip > /etc/hostname.lo0:2
echo 10.9.9.9 vip >> /etc/inet/hosts
REBOOT
ifconfig lo0:2
# the same by addif in the file of lo0
rm /etc/hostname.lo0:1 /etc/hostname.lo0:2
echo addif 10.9.9.9/32 up > /etc/hostname.lo0
REBOOT
ifconfig -a4
