# eras: solaris10 illumos
uname -a
cat /var/log/boot.log
ifconfig -a
netstat -rn
netstat -rn -f inet
cat /etc/hosts
cat /etc/netmasks
cat /etc/hostname.pcn0
route -n get default
