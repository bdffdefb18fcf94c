# eras: fc5 el6
FILE /etc/sysconfig/ipvsadm
# rules
-A -t 192.168.0.200:80 -s wlc
-a -t 192.168.0.200:80 -r 192.168.0.161:80 -g -w 1
.
REBOOT
ipvsadm -Sn
chkconfig --list ipvsadm
ln -s ../init.d/ipvsadm /etc/rc.d/rc3.d/S08ipvsadm
REBOOT
ipvsadm -Sn
# not saved at shutdown, unless told to (EL6)
ipvsadm -C
REBOOT
ipvsadm -Sn
echo IPVS_SAVE_ON_STOP=yes > /etc/sysconfig/ipvsadm-config
ipvsadm -a -t 192.168.0.200:80 -r 192.168.0.162:80 -i -w 0
REBOOT
cat /etc/sysconfig/ipvsadm
