# eras: solaris10 illumos
# a copy of the file: passed over by Solaris 10, plumbed by illumos
cp /etc/hostname.pcn0 /etc/hostname.pcn0.20060816
# does not end in a digit
echo 10.9.9.9/32 > /etc/hostname.lo0:1.bak
echo 10.9.9.8/32 > /etc/hostname.lo0:x
# no such card
echo 10.9.9.7/24 > /etc/hostname.bge0
REBOOT
cat /var/log/boot.log
ifconfig -a4
# an empty file plumbs the interface and no more
rm /etc/hostname.bge0 /etc/hostname.pcn0.20060816
printf '' > /etc/hostname.pcn0
printf '' > /etc/nodename
REBOOT
cat /var/log/boot.log
ifconfig -a4
