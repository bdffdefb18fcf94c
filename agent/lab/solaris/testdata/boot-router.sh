# eras: solaris10 illumos
echo 192.168.0.252 > /etc/defaultrouter
REBOOT
netstat -rn -f inet
# several, with comments
printf '# routers\n192.168.0.252\n\n192.168.0.253 second\n' > /etc/defaultrouter
REBOOT
netstat -rn -f inet
# without a newline net-physical loses it, and net-routing-setup adds it
printf '192.168.0.254' > /etc/defaultrouter
REBOOT
netstat -rn -f inet
# nobody's net
echo 10.9.9.9 > /etc/defaultrouter
REBOOT
netstat -rn -f inet
cat /var/log/boot.log
rm /etc/defaultrouter
route -p add default 192.168.0.251
cat /etc/inet/static_routes
REBOOT
netstat -rn -f inet
# an empty file flushes what boot had, and static_routes comes after
printf '' > /etc/defaultrouter
REBOOT
netstat -rn -f inet
route -p delete default 192.168.0.251
REBOOT
netstat -rn -f inet
cat /var/log/boot.log
