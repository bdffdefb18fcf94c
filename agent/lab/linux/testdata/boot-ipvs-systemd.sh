# eras: el7 current
FILE /etc/sysconfig/ipvsadm
-A -t 192.168.0.200:80 -s rr
-a -t 192.168.0.200:80 -r 192.168.0.161:80 -g -w 1
.
REBOOT
# not enabled
ipvsadm -Sn
ln -s /usr/lib/systemd/system/ipvsadm.service /etc/systemd/system/multi-user.target.wants/ipvsadm.service
systemctl is-enabled ipvsadm
REBOOT
ipvsadm -Sn
# an orderly shutdown saves the live table over the file
ipvsadm -a -t 192.168.0.200:80 -r 192.168.0.162:80 -i -w 0
REBOOT
cat /etc/sysconfig/ipvsadm
ipvsadm -Sn
# a power cut does not
ipvsadm -C
POWER
ipvsadm -Sn
# a drop-in that systemd has not read yet does not help
FILE /etc/systemd/system/ipvsadm.service.d/lvsfleet.conf
[Service]
ExecStop=
ExecStop=/sbin/ipvsadm -C
.
ipvsadm -d -t 192.168.0.200:80 -r 192.168.0.162:80
REBOOT
cat /etc/sysconfig/ipvsadm
# from now on it does
ipvsadm -C
REBOOT
ipvsadm -Sn
rm /etc/systemd/system/ipvsadm.service.d/lvsfleet.conf
systemctl daemon-reload
ipvsadm -C
REBOOT
ipvsadm -Sn
# the unit fails without the file, and is then not stopped
rm /etc/sysconfig/ipvsadm
POWER
cat /var/log/boot.log
ipvsadm -A -t 192.168.0.200:80 -s rr
REBOOT
ls /etc/sysconfig
